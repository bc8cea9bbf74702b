/* SPDX-License-Identifier: Apache-2.0 */
#include "requests.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compiled.h"
#include "learned.h"
#include "requests_ports.h"
#include "transaction.h"

/* Buckets of a learned table that are read while packets stand still. */
#define BUCKETS_A_READ 2048
/* Changes in one transaction. */
#define CHANGES_MAX 1000000u

static int malformed(struct failure *f)
{
	return fail(f, STATUS_INVALID, "the message is malformed");
}

static struct program *program_of(struct engine *e, struct reader *r, struct failure *f)
{
	uint8_t which = read_u8(r);
	struct program *p = which == WHICH_STAGED ? e->staged : e->running;

	if (r->bad || which > WHICH_STAGED) {
		malformed(f);
		return NULL;
	}
	if (!p)
		fail(f, STATUS_NO_PROGRAM, "no program is %s", which == WHICH_STAGED ? "staged" : "running");
	return p;
}

static int hello(struct engine *e, struct reader *r, struct writer *w, struct failure *f)
{
	uint16_t version = read_u16(r);

	if (!read_done(r))
		return malformed(f);
	if (version != PROTOCOL_VERSION)
		return fail(f, STATUS_UNSUPPORTED, "the engine speaks version %d of its protocol, not %u",
			    PROTOCOL_VERSION, version);
	write_u16(w, PROTOCOL_VERSION);
	write_u64(w, e->boot_id);
	write_u8(w, e->running != NULL);
	write_u64(w, e->running ? e->running->generation : 0);
	write_u16(w, (uint16_t)slots_count(e->slots));
	write_u16(w, WIRE_MAX);
	return 0;
}

static int load(struct engine *e, struct reader *r, struct failure *f)
{
	bool check_only = read_u8(r);
	uint32_t spec_length = read_u32(r), blob_length;
	const uint8_t *spec = read_bytes(r, spec_length), *blob;
	struct program *p;

	blob_length = read_u32(r);
	blob = read_bytes(r, blob_length);
	if (!read_done(r))
		return malformed(f);
	if (spec_length > SPEC_MAX || blob_length > BLOB_MAX)
		return fail(f, STATUS_INVALID, "a spec has at most %u bytes, what goes with it %u", SPEC_MAX, BLOB_MAX);
	if (trial_run(&e->trial, (const char *)spec, spec_length, f))
		return -1;
	if (check_only)
		return 0;
	/* First free what is no longer wanted: both may be large. */
	program_free(e->staged);
	e->staged = NULL;
	p = program_build((const char *)spec, spec_length, e->slots, f);
	if (!p)
		return -1;
	p->blob = malloc(blob_length + 1);
	if (!p->blob) {
		program_free(p);
		return fail(f, STATUS_SYSTEM, "no memory for the program");
	}
	if (blob_length)
		memcpy(p->blob, blob, blob_length);
	p->blob_length = blob_length;
	e->staged = p;
	return 0;
}

static void run_program(struct dataplane *d, void *program)
{
	dataplane_set_program(d, program);
}

static int activate(struct engine *e, struct reader *r, struct failure *f)
{
	struct program *before = e->running;

	if (!read_done(r))
		return malformed(f);
	if (!e->staged)
		return fail(f, STATUS_NO_PROGRAM, "no program is staged");
	dataplane_call(e->dataplane, run_program, e->staged);
	e->running = e->staged;
	e->staged = NULL;
	program_free(before);
	return 0;
}

static int describe(struct engine *e, struct reader *r, struct writer *w, struct failure *f)
{
	struct program *p = program_of(e, r, f);

	if (!p)
		return -1;
	if (!read_done(r))
		return malformed(f);
	program_describe(p, w);
	return 0;
}

static int give_program(struct engine *e, struct reader *r, struct writer *w, struct failure *f)
{
	struct program *p = program_of(e, r, f);

	if (!p)
		return -1;
	if (!read_done(r))
		return malformed(f);
	write_u32(w, p->spec_length);
	write_bytes(w, p->spec, p->spec_length);
	write_u32(w, p->blob_length);
	write_bytes(w, p->blob, p->blob_length);
	return 0;
}

static int write_changes(struct engine *e, struct reader *r, struct failure *f)
{
	struct program *p = program_of(e, r, f);
	uint64_t generation = read_u64(r);
	uint32_t count = read_u32(r);

	if (!p)
		return -1;
	if (r->bad || count > CHANGES_MAX)
		return malformed(f);
	if (transaction_run(p, p == e->running ? e->dataplane : NULL, r, count, f))
		return -1;
	p->generation = generation;
	return 0;
}

static int read_entries(struct engine *e, struct reader *r, struct writer *w, struct failure *f)
{
	struct program *p = program_of(e, r, f);
	uint32_t table = read_u16(r), cursor = read_u32(r), count;
	size_t head = w->length;

	if (!p)
		return -1;
	if (!read_done(r) || table >= p->table_count)
		return malformed(f);
	write_u32(w, 0);
	write_u32(w, 0);
	transaction_read(p, table, &cursor, w, &count);
	patch_u32(w, head, cursor);
	patch_u32(w, head + 4, count);
	return 0;
}

static int read_default(struct engine *e, struct reader *r, struct writer *w, struct failure *f)
{
	struct program *p = program_of(e, r, f);
	uint32_t table = read_u16(r), learner = table & ~LEARNER_BIT;

	if (!p)
		return -1;
	if (!read_done(r) || (table & LEARNER_BIT ? learner >= p->learner_count : table >= p->table_count))
		return malformed(f);
	transaction_read_default(p, table & LEARNER_BIT ? learner_state(p, learner) : table, w);
	return 0;
}

static int read_groups(struct engine *e, struct reader *r, struct writer *w, struct failure *f)
{
	struct program *p = program_of(e, r, f);
	uint32_t selector = read_u16(r), group = read_u32(r), count = 0;
	size_t head = w->length;

	if (!p)
		return -1;
	if (!read_done(r) || selector >= p->selector_count)
		return malformed(f);
	write_u32(w, 0);
	write_u32(w, 0);
	for (; group < p->selectors[selector].groups_max && w->length < REPLY_PART_MAX; group++) {
		const struct group *g = &p->selectors[selector].groups[group];

		if (!g->count)
			continue;
		write_u32(w, group);
		write_u16(w, (uint16_t)g->count);
		for (uint32_t i = 0; i < g->count; i++) {
			write_u32(w, g->members[i].id);
			write_u32(w, g->members[i].weight);
		}
		count++;
	}
	patch_u32(w, head, group < p->selectors[selector].groups_max ? group : UINT32_MAX);
	patch_u32(w, head + 4, count);
	return 0;
}

static int read_registers(struct engine *e, struct reader *r, struct writer *w, struct failure *f)
{
	struct program *p = program_of(e, r, f);
	uint32_t array = read_u16(r), first = read_u32(r), count = read_u32(r);

	if (!p)
		return -1;
	if (!read_done(r) || array >= p->regarray_count || count > REPLY_PART_MAX / 8 ||
	    first > p->regarrays[array].size || count > p->regarrays[array].size - first)
		return malformed(f);
	for (uint32_t i = 0; i < count; i++)
		write_u64(w, register_read(p, array, first + i));
	return 0;
}

static int read_meters(struct engine *e, struct reader *r, struct writer *w, struct failure *f)
{
	struct program *p = program_of(e, r, f);
	uint32_t array = read_u16(r), first = read_u32(r), count = read_u32(r);

	if (!p)
		return -1;
	if (!read_done(r) || array >= p->meter_array_count || count > REPLY_PART_MAX / 33 ||
	    first > p->meter_arrays[array].size || count > p->meter_arrays[array].size - first)
		return malformed(f);
	for (uint32_t i = 0; i < count; i++) {
		const struct meter *m = &p->meter_arrays[array].meters[first + i];

		write_u8(w, m->set);
		write_u64(w, m->rate);
		write_u64(w, m->burst);
		write_u64(w, m->peak_rate);
		write_u64(w, m->peak_burst);
	}
	return 0;
}

struct learned_call {
	const struct program *program;
	uint32_t learner, cursor, count;
	struct writer *w;
};

static void read_learned_standing(struct dataplane *d, void *argument)
{
	struct learned_call *c = argument;

	(void)d;
	c->cursor = learned_read(c->program, c->learner, c->cursor, BUCKETS_A_READ, c->w, &c->count);
}

static struct program *learner_of(struct engine *e, struct reader *r, uint32_t *learner, struct failure *f)
{
	*learner = read_u16(r);
	if (!e->running) {
		fail(f, STATUS_NO_PROGRAM, "no program is running");
		return NULL;
	}
	if (r->bad || *learner >= e->running->learner_count) {
		malformed(f);
		return NULL;
	}
	return e->running;
}

static int read_learned(struct engine *e, struct reader *r, struct writer *w, struct failure *f)
{
	struct learned_call c = { .w = w };
	size_t head = w->length;

	c.program = learner_of(e, r, &c.learner, f);
	c.cursor = read_u32(r);
	if (!c.program)
		return -1;
	if (!read_done(r))
		return malformed(f);
	if (!c.program->learners[c.learner].readable)
		return fail(f, STATUS_UNSUPPORTED, "the entries of %s can not be read with this DPDK",
			    c.program->learners[c.learner].keyed.name);
	write_u32(w, 0);
	write_u32(w, 0);
	dataplane_call(e->dataplane, read_learned_standing, &c);
	patch_u32(w, head, c.cursor);
	patch_u32(w, head + 4, c.count);
	return 0;
}

struct flush_call {
	struct program *program;
	uint32_t learner;
	void *object;
};

static void exchange_learner(struct dataplane *d, void *argument)
{
	struct flush_call *c = argument;
	uint32_t at = learner_state(c->program, c->learner);
	void *before = c->program->state[0][at].obj;

	(void)d;
	c->program->state[0][at].obj = c->object;
	c->program->state[1][at].obj = c->object;
	c->object = before;
}

static int flush_learned(struct engine *e, struct reader *r, struct failure *f)
{
	struct flush_call c;

	c.program = learner_of(e, r, &c.learner, f);
	if (!c.program)
		return -1;
	if (!read_done(r))
		return malformed(f);
	c.object = learner_create(c.program, c.learner);
	if (!c.object)
		return fail(f, STATUS_SYSTEM, "no memory for an empty %s", c.program->learners[c.learner].keyed.name);
	dataplane_call(e->dataplane, exchange_learner, &c);
	rte_swx_table_learner_free(c.object);
	return 0;
}

/* Hits, misses, then of learned tables: learned, not learned, renewed, forgotten. -1: DPDK does not say. */
static int learner_counts(const struct program *p, uint32_t learner, uint64_t *counts, uint64_t *by_action)
{
	struct rte_swx_learner_stats s = { .n_pkts_action = by_action };

	if (rte_swx_ctl_pipeline_learner_stats_read(p->pipeline, p->learners[learner].keyed.name, &s))
		return -1;
	counts[0] = s.n_pkts_hit;
	counts[1] = s.n_pkts_miss;
	counts[2] = s.n_pkts_learn_ok;
	counts[3] = s.n_pkts_learn_err;
	counts[4] = s.n_pkts_rearm;
	counts[5] = s.n_pkts_forget;
	return 0;
}

static int table_counts(const struct program *p, uint32_t table, uint64_t *counts, uint64_t *by_action)
{
	struct rte_swx_table_stats s = { .n_pkts_action = by_action };

	if (rte_swx_ctl_pipeline_table_stats_read(p->pipeline, p->tables[table].keyed.name, &s))
		return -1;
	counts[0] = s.n_pkts_hit;
	counts[1] = s.n_pkts_miss;
	return 0;
}

static void compiled_counts(const struct program *p, uint32_t number, uint64_t *counts, uint64_t *by_action)
{
	const struct look_ups *l = &p->machine->look_ups[number];

	counts[0] = l->by_hit[1];
	counts[1] = l->by_hit[0];
	counts[2] = l->learned;
	counts[3] = l->not_learned;
	counts[4] = l->renewed;
	counts[5] = l->forgotten;
	memcpy(by_action, l->by_action, p->action_count * sizeof(*by_action));
}

static int table_stats(struct engine *e, struct reader *r, struct writer *w, struct failure *f)
{
	struct program *p = program_of(e, r, f);
	uint32_t table = read_u16(r), learner = table & ~LEARNER_BIT;
	uint64_t *by_action, counts[6] = { 0 };
	bool learned = table & LEARNER_BIT;
	int status = 0;

	if (!p)
		return -1;
	if (!read_done(r) || (learned ? learner >= p->learner_count : table >= p->table_count))
		return malformed(f);
	by_action = calloc(p->action_count + 1, sizeof(*by_action));
	if (!by_action)
		return fail(f, STATUS_SYSTEM, "no memory for counters");
	if (p->machine)
		compiled_counts(p, learned ? p->table_count + learner : table, counts, by_action);
	else
		status = learned ? learner_counts(p, learner, counts, by_action) : table_counts(p, table, counts, by_action);
	write_u8(w, learned ? 6 : 2);
	for (uint32_t i = 0; i < (learned ? 6u : 2u); i++)
		write_u64(w, counts[i]);
	if (!learned)
		write_u32(w, p->tables[table].entries.count);
	write_u16(w, (uint16_t)p->action_count);
	for (uint32_t i = 0; i < p->action_count; i++)
		write_u64(w, by_action[i]);
	free(by_action);
	return status ? fail(f, STATUS_SYSTEM, "DPDK does not give the counters") : 0;
}

static int quit(struct engine *e, struct reader *r, struct failure *f)
{
	if (!read_done(r))
		return malformed(f);
	e->quit = true;
	return 0;
}

int request_serve(struct engine *e, uint8_t operation, struct reader *r, struct writer *w, struct failure *f)
{
	switch ((enum operation)operation) {
	case OP_HELLO:
		return hello(e, r, w, f);
	case OP_LOAD:
		return load(e, r, f);
	case OP_ACTIVATE:
		return activate(e, r, f);
	case OP_DESCRIBE:
		return describe(e, r, w, f);
	case OP_PROGRAM:
		return give_program(e, r, w, f);
	case OP_WRITE:
		return write_changes(e, r, f);
	case OP_READ_ENTRIES:
		return read_entries(e, r, w, f);
	case OP_READ_DEFAULT:
		return read_default(e, r, w, f);
	case OP_READ_GROUPS:
		return read_groups(e, r, w, f);
	case OP_READ_REGISTERS:
		return read_registers(e, r, w, f);
	case OP_READ_LEARNED:
		return read_learned(e, r, w, f);
	case OP_FLUSH_LEARNED:
		return flush_learned(e, r, f);
	case OP_TABLE_STATS:
		return table_stats(e, r, w, f);
	case OP_ENGINE_STATS:
		return request_engine_stats(e, r, w, f);
	case OP_ATTACH:
		return request_attach(e, r, f);
	case OP_DETACH:
		return request_detach(e, r, f);
	case OP_PORTS:
		return request_ports(e, r, w, f);
	case OP_INJECT:
		return request_inject(e, r, w, f);
	case OP_IDLE:
		return request_idle(e, r, w, f);
	case OP_BENCH:
		return request_bench(e, r, w, f);
	case OP_QUIT:
		return quit(e, r, f);
	case OP_READ_METERS:
		return read_meters(e, r, w, f);
	}
	return fail(f, STATUS_UNSUPPORTED, "operation %u is not known", operation);
}
