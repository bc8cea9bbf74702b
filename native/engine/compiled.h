/* SPDX-License-Identifier: Apache-2.0
 *
 * Programs as machine code. The build turns a .spec into C (src/p4switch/native-code), which is linked in. A program whose
 * text is, byte for byte, one that is linked in runs packets through that code; every other one runs in DPDK's interpreter.
 *
 * DPDK builds the pipeline all the same, and its tables, their two copies and all that changes or reads them are the same
 * (program.h). What packets write themselves DPDK keeps in memory that only its interpreter reaches: registers, meters and
 * counts of look-ups. Those a compiled program has here.
 */
#ifndef COMPILED_H
#define COMPILED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_meter.h>
#include <rte_swx_port.h>
#include <rte_swx_table.h>

/* Packets that run side by side: while one waits for a table's memory, the others go on. */
#define COMPILED_LANES 16

struct meter;
struct program;

/* A packet: `data` is what the pipeline would get. Afterwards `port` is where it goes, or COMPILED_DROP. */
struct compiled_packet {
	struct rte_swx_pkt packet;
	uint32_t port;
};
/* No slot has that number, and neither has any number above. */
#define COMPILED_NO_PORT UINT32_MAX
#define COMPILED_DROP (UINT32_MAX - 1)

/* What the code was made for, to be held against what DPDK built. */
struct compiled_keyed {
	const char *name;
	uint32_t key_offset, key_bytes;
	/* The code looks into the table itself (exact.h). */
	bool exact;
};

struct compiled_array {
	const char *name;
	uint32_t size;
	uint64_t initial;
};

struct machine;

struct compiled_code {
	const char *name;
	const char *spec;
	size_t spec_length;
	const char *const *actions;
	const struct compiled_keyed *tables, *learners;
	const char *const *selectors;
	const struct compiled_array *registers, *meters;
	uint32_t action_count, table_count, learner_count, selector_count, register_count, meter_count;
	size_t lane_bytes;
	void (*run)(struct machine *m, struct compiled_packet *packets, uint32_t count);
};

struct look_ups {
	/* Misses, hits. */
	uint64_t by_hit[2];
	/* By action. */
	uint64_t *by_action;
	/* Of learned tables. */
	uint64_t learned, not_learned, renewed, forgotten;
};

struct meter_cell {
	bool set;
	struct rte_meter_trtcm_profile profile;
	struct rte_meter_trtcm meter;
};

struct machine {
	const struct compiled_code *code;
	/* The copy of the tables that packets use: set before each run. */
	const struct rte_swx_table_state *state;
	rte_swx_table_lookup_t *look_up;
	/* Of tables, then of learned tables. */
	struct look_ups *look_ups;
	/* Sizes are powers of two. */
	uint64_t **registers;
	uint32_t *register_mask;
	struct meter_cell **meters;
	uint32_t *meter_mask;
	/* COMPILED_LANES of code->lane_bytes. */
	uint8_t *lanes;
	/* For every lane: one for all tables, as none keeps anything from one look-up to the next, and one for each learned table. */
	uint8_t *mailboxes;
	size_t mailbox_bytes, lane_mailbox_bytes;
};

/* Programs are interpreted from now on, whether their code is there or not. */
void compiled_forbid(void);

/* There is code for the program. */
bool compiled_has(const char *spec, size_t length);

/* NULL: the program is to be interpreted (it is none of those linked in, is not as the code expects, or there is no memory). */
struct machine *compiled_machine(const struct program *p);
void compiled_free(struct machine *m);

/* Packets stand still. `m` not set: everything is green; set: its buckets are full. -1: not as DPDK wants them. */
int compiled_meter_set(struct machine *m, uint32_t array, uint32_t index, const struct meter *meter);

#endif
