/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread that packets run on. Between batches no packet is in the pipeline: that is when it does what the control
 * thread asks for. So a transaction becomes visible to all packets at once, and what they used before is free the moment the
 * call returns.
 */
#ifndef DATAPLANE_H
#define DATAPLANE_H

#include <stdbool.h>
#include <stdint.h>

#include "failure.h"
#include "program.h"
#include "slots.h"

struct dataplane;

struct dataplane_options {
	/* -1: wherever the kernel likes. */
	int core;
	/* 0: not a real-time thread. */
	int priority;
	enum idle_mode idle;
	/* Adaptive: how long to look for packets before going to sleep. */
	uint32_t spin_us;
};

struct dataplane *dataplane_start(const struct dataplane_options *options, struct slots *slots, struct failure *f);

/* Runs `work` on the data thread, between batches, and waits for its end. */
void dataplane_call(struct dataplane *d, void (*work)(struct dataplane *d, void *argument), void *argument);

/* ---- inside `work` ---- */

struct slots *dataplane_slots(struct dataplane *d);
struct program *dataplane_program(struct dataplane *d);
void dataplane_set_program(struct dataplane *d, struct program *p);
void dataplane_set_idle(struct dataplane *d, enum idle_mode mode, uint32_t spin_us);
void dataplane_get_idle(struct dataplane *d, enum idle_mode *mode, uint32_t *spin_us);
/* Attaches a port to a slot that has none. */
int dataplane_attach(struct dataplane *d, uint32_t slot, struct port *port);
/* The port that was there, or NULL. */
struct port *dataplane_detach(struct dataplane *d, uint32_t slot);

/* Marks a port whose interface went away; it is not waited for any more. */
void dataplane_lose(struct dataplane *d, uint32_t slot);

struct dataplane_counters {
	uint64_t batches, packets, sleeps;
};
const struct dataplane_counters *dataplane_counters(struct dataplane *d);

#endif
