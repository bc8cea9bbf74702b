/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots are the ports that programs know by number. DPDK fixes a pipeline's input ports when it is built, and polls each
 * of them: 256 idle ones cost 95 % of its speed. So there is one input port, whose packets carry their slot in front
 * (spec.h), and an output port for each slot and one more for packets to slots that are not there.
 */
#ifndef SLOTS_H
#define SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>
#include <rte_swx_pipeline.h>

#include "bytes.h"
#include "failure.h"
#include "port.h"

/* Packets that run through a pipeline in one go. */
#define BATCH 64

/* What became of packets that no port counts. */
struct slots_counters {
	/* Sent to a slot that no port is attached to, or beyond the last slot. */
	uint64_t no_port;
	/* Came out of the program with a length that no frame has. */
	uint64_t malformed;
};

struct slots;
struct program;

/* The thread that calls this, and after it the data thread, own the slots. */
struct slots *slots_create(uint32_t count, struct failure *f);
uint32_t slots_count(const struct slots *s);
/* Registers the port types with a pipeline and configures its ports. */
int slots_give(struct slots *s, struct rte_swx_pipeline *pipeline, struct failure *f);

/* ---- from the data thread only ---- */

struct port *slots_port(const struct slots *s, uint32_t slot);
void slots_set_port(struct slots *s, uint32_t slot, struct port *port);
const struct slots_counters *slots_counters(const struct slots *s);

/* Zeros are kept behind each packet up to `reach` bytes from its start. */
void slots_set_reach(struct slots *s, uint32_t reach);
/* Takes up to `most` frames of a port into the batch; false when the port is gone. */
bool slots_receive(struct slots *s, uint32_t slot, uint32_t most);
/* Copies a frame into the batch; false when the batch is full. */
bool slots_put(struct slots *s, uint32_t slot, const uint8_t *frame, uint32_t length);
uint32_t slots_waiting(const struct slots *s);
/* Runs the batch to its end: every packet was sent or dropped when this returns. */
void slots_run(struct slots *s, struct program *program);

/* Until it is set to NULL again, what is sent is written here (u32 slot, u16 length, frame) and not to the ports. */
void slots_capture(struct slots *s, struct writer *to);
/* Number of packets captured since slots_capture. */
uint32_t slots_captured(const struct slots *s);
/* Packets are counted and thrown away: for measurements. */
void slots_discard(struct slots *s, bool discard);

#endif
