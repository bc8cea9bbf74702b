/* SPDX-License-Identifier: Apache-2.0
 *
 * A program: a pipeline that DPDK built from a .spec, what its tables look like, and their contents in two copies, of which
 * packets use one. Contents are changed by transaction.h only.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_swx_ctl.h>
#include <rte_swx_pipeline.h>
#include <rte_swx_table.h>
#include <rte_swx_table_learner.h>

#include "bytes.h"
#include "entries.h"
#include "failure.h"

struct field {
	uint16_t bytes;
	/* In the key or the action's arguments, in bytes. */
	uint32_t offset;
	/* Headers, and what is wider than 64 bits: as on the wire. Else the host's order, which is little-endian. */
	bool network_order;
	enum rte_swx_table_match_type match;
};

struct action {
	char name[RTE_SWX_CTL_NAME_SIZE];
	uint32_t field_count;
	struct field *fields;
	/* Of all arguments: in memory, and in a message. */
	uint32_t bytes;
};

struct permitted {
	uint32_t action;
	bool in_entries, as_default;
};

struct keyed {
	char name[RTE_SWX_CTL_NAME_SIZE];
	uint32_t size;
	uint32_t field_count;
	struct field *fields;
	/* Of the key as DPDK has it (with what lies between the fields), and of the fields in a message. */
	uint32_t key_bytes;
	uint32_t message_bytes;
	uint8_t *mask0;
	/* Where the key begins in its struct. */
	uint32_t key_offset;
	uint32_t permitted_count;
	struct permitted *permitted;
	uint32_t data_bytes;
	bool default_is_const;
	/* As the spec has it. */
	uint64_t first_default_action;
	uint8_t *first_default_data;
};

struct table {
	struct keyed keyed;
	/* No key fields: only a default action. */
	bool stub;
	/* Exact tables change in place; others are built anew from all entries. */
	bool exact;
	enum rte_swx_table_match_type match;
	struct rte_swx_table_ops ops;
	char args[RTE_SWX_CTL_NAME_SIZE];
	rte_swx_hash_func_t hash;
	struct entries entries;
};

struct learner {
	struct keyed keyed;
	uint32_t timeout_count;
	/* How entries lie in the library's memory is known and was verified (learned.h). */
	bool readable;
};

struct member {
	uint32_t id, weight;
};

struct group {
	uint32_t count;
	struct member *members;
};

struct selector {
	char name[RTE_SWX_CTL_NAME_SIZE];
	uint32_t groups_max, members_max;
	struct group *groups;
};

struct regarray {
	char name[RTE_SWX_CTL_NAME_SIZE];
	uint32_t size;
};

/* A meter as it was set: committed and peak rate (a second), and what their buckets hold. Of bytes, or whatever the program counts. */
struct meter {
	/* False: everything is green. */
	bool set;
	uint64_t rate, burst, peak_rate, peak_burst;
	/* DPDK knows what it is set to by a name of its own, with this number; 0 for none. */
	uint32_t profile;
};

struct meter_array {
	char name[RTE_SWX_CTL_NAME_SIZE];
	uint32_t size;
	struct meter *meters;
};

struct program {
	struct rte_swx_pipeline *pipeline;
	/* Not NULL: packets do not go through the pipeline but through machine code (compiled.h). */
	struct machine *machine;
	/* Copies of all table states: tables, selectors, learners. Packets use state[live]. */
	struct rte_swx_table_state *state[2];
	int live;
	uint32_t reach;
	uint32_t table_count, action_count, selector_count, learner_count, regarray_count, meter_array_count;
	struct table *tables;
	struct action *actions;
	struct selector *selectors;
	struct learner *learners;
	struct regarray *regarrays;
	struct meter_array *meter_arrays;
	/* The last number of a profile of a meter. */
	uint32_t profiles;
	/* What the server gave: the spec as it was, and a blob that means nothing here. */
	char *spec;
	uint32_t spec_length;
	uint8_t *blob;
	uint32_t blob_length;
	/* Of the last transaction; the server numbers them. */
	uint64_t generation;
};

/* The slots that make the ports of a program: given to DPDK when the pipeline is built. */
struct slots;

struct program *program_build(const char *spec, uint32_t length, struct slots *slots, struct failure *f);
void program_free(struct program *p);
void program_describe(const struct program *p, struct writer *w);

uint32_t selector_state(const struct program *p, uint32_t selector);
uint32_t learner_state(const struct program *p, uint32_t learner);
/* A table object as DPDK builds its own, with these entries. */
void *table_create(const struct table *t, struct rte_swx_table_entry_list *entries);
void *learner_create(const struct program *p, uint32_t learner);

/* What packets write, wherever it is. */
uint64_t register_read(const struct program *p, uint32_t array, uint32_t index);
/* Packets stand still. */
void register_write(struct program *p, uint32_t array, uint32_t index, uint64_t value);

/* Between a message's field (big-endian) and DPDK's memory. */
void field_to_memory(const struct field *field, const uint8_t *message, uint8_t *memory);
void field_to_message(const struct field *field, const uint8_t *memory, uint8_t *message);

#endif
