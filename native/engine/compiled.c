/* SPDX-License-Identifier: Apache-2.0 */
#include "compiled.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_swx_table_learner.h>
#include <rte_swx_table_selector.h>

#include "exact.h"
#include "program.h"

/* Written by the build: what it could compile, with NULL behind. */
extern const struct compiled_code *const compiled_codes[];

static bool forbidden;

void compiled_forbid(void)
{
	forbidden = true;
}

/* ---- is it the same program? ---- */

static bool same_keyed(const struct compiled_keyed *wanted, const struct keyed *k)
{
	return !strcmp(wanted->name, k->name) && wanted->key_bytes == k->key_bytes &&
	       (!k->key_bytes || wanted->key_offset == k->key_offset);
}

/* The code knows actions and tables by their number. */
static bool same_numbers(const struct compiled_code *c, const struct program *p)
{
	bool same = c->action_count == p->action_count && c->table_count == p->table_count &&
		    c->learner_count == p->learner_count && c->selector_count == p->selector_count &&
		    c->register_count == p->regarray_count && c->meter_count == p->meter_array_count;

	for (uint32_t i = 0; same && i < c->action_count; i++)
		same = !strcmp(c->actions[i], p->actions[i].name);
	for (uint32_t i = 0; same && i < c->table_count; i++)
		same = same_keyed(&c->tables[i], &p->tables[i].keyed) &&
		       c->tables[i].exact == (p->tables[i].exact && p->tables[i].ops.lkp == exact_ops.lkp);
	for (uint32_t i = 0; same && i < c->learner_count; i++)
		same = same_keyed(&c->learners[i], &p->learners[i].keyed);
	for (uint32_t i = 0; same && i < c->selector_count; i++)
		same = !strcmp(c->selectors[i], p->selectors[i].name);
	for (uint32_t i = 0; same && i < c->register_count; i++)
		same = !strcmp(c->registers[i].name, p->regarrays[i].name) && c->registers[i].size == p->regarrays[i].size;
	for (uint32_t i = 0; same && i < c->meter_count; i++)
		same = !strcmp(c->meters[i].name, p->meter_arrays[i].name) && c->meters[i].size == p->meter_arrays[i].size;
	return same;
}

static const struct compiled_code *code_of(const char *spec, size_t length)
{
	for (const struct compiled_code *const *c = compiled_codes; *c && !forbidden; c++)
		if ((*c)->spec_length == length && !memcmp((*c)->spec, spec, length))
			return *c;
	return NULL;
}

bool compiled_has(const char *spec, size_t length)
{
	return code_of(spec, length) != NULL;
}

/* ---- memory ---- */

static int make_arrays(struct machine *m)
{
	const struct compiled_code *c = m->code;

	m->registers = calloc(c->register_count + 1, sizeof(*m->registers));
	m->register_mask = calloc(c->register_count + 1, sizeof(*m->register_mask));
	m->meters = calloc(c->meter_count + 1, sizeof(*m->meters));
	m->meter_mask = calloc(c->meter_count + 1, sizeof(*m->meter_mask));
	if (!m->registers || !m->register_mask || !m->meters || !m->meter_mask)
		return -1;
	for (uint32_t i = 0; i < c->register_count; i++) {
		uint32_t size = rte_align32pow2(c->registers[i].size);

		m->register_mask[i] = size - 1;
		m->registers[i] = calloc(size, sizeof(**m->registers));
		if (!m->registers[i])
			return -1;
		for (uint32_t cell = 0; c->registers[i].initial && cell < size; cell++)
			m->registers[i][cell] = c->registers[i].initial;
	}
	for (uint32_t i = 0; i < c->meter_count; i++) {
		uint32_t size = rte_align32pow2(c->meters[i].size);

		m->meter_mask[i] = size - 1;
		m->meters[i] = calloc(size, sizeof(**m->meters));
		if (!m->meters[i])
			return -1;
	}
	return 0;
}

static int make_look_ups(struct machine *m, const struct program *p)
{
	const struct compiled_code *c = m->code;
	uint32_t count = c->table_count + c->learner_count;
	size_t largest = rte_swx_table_selector_mailbox_size_get();

	m->look_up = calloc(c->table_count + 1, sizeof(*m->look_up));
	m->look_ups = calloc(count + 1, sizeof(*m->look_ups));
	if (!m->look_up || !m->look_ups)
		return -1;
	for (uint32_t i = 0; i < count; i++) {
		m->look_ups[i].by_action = calloc(c->action_count + 1, sizeof(uint64_t));
		if (!m->look_ups[i].by_action)
			return -1;
	}
	for (uint32_t i = 0; i < c->table_count; i++) {
		const struct rte_swx_table_ops *ops = &p->tables[i].ops;

		m->look_up[i] = ops->lkp;
		if (!p->tables[i].stub && ops->mailbox_size_get)
			largest = RTE_MAX(largest, ops->mailbox_size_get());
	}
	largest = RTE_MAX(largest, rte_swx_table_learner_mailbox_size_get());
	m->mailbox_bytes = RTE_ALIGN_CEIL(largest + 1, (size_t)RTE_CACHE_LINE_SIZE);
	m->lane_mailbox_bytes = m->mailbox_bytes * (1 + c->learner_count);
	return 0;
}

static int make_lanes(struct machine *m)
{
	m->lanes = aligned_alloc(RTE_CACHE_LINE_SIZE, COMPILED_LANES * m->code->lane_bytes);
	m->mailboxes = aligned_alloc(RTE_CACHE_LINE_SIZE, COMPILED_LANES * m->lane_mailbox_bytes);
	if (!m->lanes || !m->mailboxes)
		return -1;
	memset(m->lanes, 0, COMPILED_LANES * m->code->lane_bytes);
	memset(m->mailboxes, 0, COMPILED_LANES * m->lane_mailbox_bytes);
	return 0;
}

struct machine *compiled_machine(const struct program *p)
{
	const struct compiled_code *code = code_of(p->spec, p->spec_length);
	struct machine *m;

	if (!code)
		return NULL;
	if (!same_numbers(code, p)) {
		fprintf(stderr, "engine: DPDK sees the tables of %s otherwise than its code; it is interpreted\n", code->name);
		return NULL;
	}
	m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	m->code = code;
	if (!make_arrays(m) && !make_look_ups(m, p) && !make_lanes(m))
		return m;
	fprintf(stderr, "engine: no memory to run %s as machine code; it is interpreted\n", code->name);
	compiled_free(m);
	return NULL;
}

void compiled_free(struct machine *m)
{
	if (!m)
		return;
	for (uint32_t i = 0; m->registers && i < m->code->register_count; i++)
		free(m->registers[i]);
	for (uint32_t i = 0; m->meters && i < m->code->meter_count; i++)
		free(m->meters[i]);
	for (uint32_t i = 0; m->look_ups && i < m->code->table_count + m->code->learner_count; i++)
		free(m->look_ups[i].by_action);
	free(m->registers);
	free(m->register_mask);
	free(m->meters);
	free(m->meter_mask);
	free(m->look_up);
	free(m->look_ups);
	free(m->lanes);
	free(m->mailboxes);
	free(m);
}

int compiled_meter_set(struct machine *m, uint32_t array, uint32_t index, const struct meter *meter)
{
	struct meter_cell *cell = &m->meters[array][index];
	struct rte_meter_trtcm_params params = {
		.cir = meter->rate, .cbs = meter->burst, .pir = meter->peak_rate, .pbs = meter->peak_burst
	};

	if (!meter->set) {
		cell->set = false;
		return 0;
	}
	if (rte_meter_trtcm_profile_config(&cell->profile, &params) || rte_meter_trtcm_config(&cell->meter, &cell->profile))
		return -1;
	cell->set = true;
	return 0;
}
