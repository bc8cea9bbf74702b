/* SPDX-License-Identifier: Apache-2.0 */
#include "transaction.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_swx_table_selector.h>

#include "compiled.h"

/* DPDK takes the highest priority for 0, and has 29 bits for them. */
#define PRIORITY_MAX ((1u << 28) - 1)
/* The library reads keys in words of 8 bytes, up to the next power of two. */
#define KEY_ROOM 512
#define ARENA_BLOCK (1u << 20)

/* One change, with all it takes to apply it to either copy, or to take it back. */
struct step {
	enum change kind;
	/* Of a table, a selector, a register array; of a default action, the state. */
	uint32_t object;
	uint32_t priority;
	bool existed;
	uint64_t action, old_action;
	/* As DPDK has them. */
	uint8_t *key, *mask, *data, *old_data;
	uint32_t index;
	uint64_t value;
	struct group members, old_members;
	struct meter meter;
	/* What the meter was set to before, which nobody uses any more. */
	uint32_t old_profile;
};

struct arena_block {
	struct arena_block *next;
	size_t used;
	uint8_t bytes[ARENA_BLOCK];
};

struct transaction {
	struct program *program;
	struct step *steps;
	uint32_t count;
	struct arena_block *arena;
	/* Tables that are to be built anew, and what was built. */
	bool *dirty;
	void **built;
	bool touches_tables;
	struct failure *failure;
};

static int no_memory(struct transaction *t)
{
	return fail(t->failure, STATUS_SYSTEM, "no memory for the transaction");
}

static uint8_t *reserve(struct transaction *t, size_t size)
{
	struct arena_block *block = t->arena;
	uint8_t *at;

	size = (size + 7) & ~(size_t)7;
	if (!block || ARENA_BLOCK - block->used < size) {
		block = malloc(sizeof(*block));
		if (!block || size > ARENA_BLOCK) {
			free(block);
			return NULL;
		}
		block->next = t->arena;
		block->used = 0;
		t->arena = block;
	}
	at = block->bytes + block->used;
	block->used += size;
	memset(at, 0, size);
	return at;
}

/* ---- reading changes ---- */

static bool prefix(const uint8_t *mask, uint32_t bytes)
{
	bool over = false;

	for (uint32_t i = 0; i < bytes; i++)
		for (int bit = 7; bit >= 0; bit--) {
			bool set = mask[i] >> bit & 1;

			if (set && over)
				return false;
			over |= !set;
		}
	return true;
}

static int read_mask(struct transaction *t, const struct table *table, struct reader *r, struct step *step)
{
	const struct keyed *k = &table->keyed;

	for (uint32_t i = 0; i < k->field_count; i++) {
		const struct field *field = &k->fields[i];
		const uint8_t *mask = read_bytes(r, field->bytes);

		if (!mask)
			return fail(t->failure, STATUS_INVALID, "the message ends in a mask");
		for (uint32_t b = 0; field->match == RTE_SWX_TABLE_MATCH_EXACT && b < field->bytes; b++)
			if (mask[b] != 0xff)
				return fail(t->failure, STATUS_INVALID, "table %s: key %u is exact", k->name, i);
		if (field->match == RTE_SWX_TABLE_MATCH_LPM && !prefix(mask, field->bytes))
			return fail(t->failure, STATUS_INVALID, "table %s: the mask of key %u is no prefix", k->name, i);
		field_to_memory(field, mask, step->mask);
	}
	for (uint32_t i = 0; i < k->key_bytes; i++)
		if (step->key[i] & ~step->mask[i])
			return fail(t->failure, STATUS_INVALID, "table %s: a key has bits outside of its mask", k->name);
	if (table->match != RTE_SWX_TABLE_MATCH_WILDCARD)
		return 0;
	step->priority = read_u32(r);
	if (r->bad || step->priority > PRIORITY_MAX)
		return fail(t->failure, STATUS_INVALID, "table %s: priorities are 0 to %u", k->name, PRIORITY_MAX);
	return 0;
}

static int read_key(struct transaction *t, struct reader *r, struct step *step)
{
	struct program *p = t->program;
	const struct table *table;

	step->object = read_u16(r);
	if (r->bad || step->object >= p->table_count)
		return fail(t->failure, STATUS_INVALID, "there is no table %u", step->object);
	table = &p->tables[step->object];
	if (table->stub)
		return fail(t->failure, STATUS_INVALID, "table %s has no key and takes no entries", table->keyed.name);
	step->key = reserve(t, table->keyed.key_bytes);
	step->mask = table->exact ? NULL : reserve(t, table->keyed.key_bytes);
	if (!step->key || (!table->exact && !step->mask))
		return no_memory(t);
	for (uint32_t i = 0; i < table->keyed.field_count; i++) {
		const uint8_t *value = read_bytes(r, table->keyed.fields[i].bytes);

		if (!value)
			return fail(t->failure, STATUS_INVALID, "the message ends in a key");
		field_to_memory(&table->keyed.fields[i], value, step->key);
	}
	return table->exact ? 0 : read_mask(t, table, r, step);
}

static int read_action(struct transaction *t, const struct keyed *k, bool as_default, struct reader *r, struct step *step)
{
	struct program *p = t->program;
	const struct action *action;
	bool permitted = false;

	step->action = read_u16(r);
	for (uint32_t i = 0; i < k->permitted_count; i++)
		if (k->permitted[i].action == step->action)
			permitted = as_default ? k->permitted[i].as_default : k->permitted[i].in_entries;
	if (r->bad || !permitted)
		return fail(t->failure, STATUS_INVALID, "table %s does not allow action %u here", k->name,
			    (unsigned int)step->action);
	action = &p->actions[step->action];
	step->data = reserve(t, k->data_bytes + 1);
	step->old_data = reserve(t, k->data_bytes + 1);
	if (!step->data || !step->old_data)
		return no_memory(t);
	for (uint32_t i = 0; i < action->field_count; i++) {
		const uint8_t *value = read_bytes(r, action->fields[i].bytes);

		if (!value)
			return fail(t->failure, STATUS_INVALID, "the message ends in an action's arguments");
		field_to_memory(&action->fields[i], value, step->data);
	}
	return 0;
}

/* ---- the index of entries: each change as it is read, so that later ones see it ---- */

static void set_cell(const struct entries *e, uint32_t cell, uint64_t action, const uint8_t *data)
{
	struct cell *c = entries_cell(e, cell);

	c->action = action;
	memcpy(cell_data(e, c), data, e->data_bytes);
}

static int index_put(struct transaction *t, struct step *step, enum change wanted)
{
	struct table *table = &t->program->tables[step->object];
	struct entries *e = &table->entries;
	uint32_t cell = entries_find(e, step->key, step->mask, step->priority);

	step->existed = cell != NOWHERE;
	if (step->existed && wanted == CHANGE_ADD)
		return fail(t->failure, STATUS_EXISTS, "table %s has this entry already", table->keyed.name);
	if (!step->existed && wanted == CHANGE_MODIFY)
		return fail(t->failure, STATUS_NOT_FOUND, "table %s has no such entry", table->keyed.name);
	if (!step->existed) {
		if (e->count >= table->keyed.size)
			return fail(t->failure, STATUS_FULL, "table %s is full (%u entries)", table->keyed.name,
				    table->keyed.size);
		cell = entries_add(e, step->key, step->mask, step->priority);
		if (cell == NOWHERE)
			return no_memory(t);
	} else {
		struct cell *c = entries_cell(e, cell);

		step->old_action = c->action;
		memcpy(step->old_data, cell_data(e, c), e->data_bytes);
	}
	set_cell(e, cell, step->action, step->data);
	step->kind = CHANGE_PUT;
	return 0;
}

static int index_delete(struct transaction *t, struct step *step)
{
	struct table *table = &t->program->tables[step->object];
	struct entries *e = &table->entries;
	uint32_t cell = entries_find(e, step->key, step->mask, step->priority);
	struct cell *c;

	if (cell == NOWHERE)
		return fail(t->failure, STATUS_NOT_FOUND, "table %s has no such entry", table->keyed.name);
	step->old_data = reserve(t, e->data_bytes + 1);
	if (!step->old_data)
		return no_memory(t);
	c = entries_cell(e, cell);
	step->old_action = c->action;
	memcpy(step->old_data, cell_data(e, c), e->data_bytes);
	entries_remove(e, cell);
	step->existed = true;
	return 0;
}

static void index_undo(struct transaction *t, const struct step *step)
{
	struct entries *e = &t->program->tables[step->object].entries;
	uint32_t cell = entries_find(e, step->key, step->mask, step->priority);

	if (step->kind == CHANGE_PUT && !step->existed) {
		entries_remove(e, cell);
		return;
	}
	/* Its cell was given back and nothing else was added since: there is memory for it. */
	if (step->kind == CHANGE_DELETE)
		cell = entries_add(e, step->key, step->mask, step->priority);
	set_cell(e, cell, step->old_action, step->old_data);
}

/* ---- other changes ---- */

static int read_default(struct transaction *t, struct reader *r, struct step *step)
{
	struct program *p = t->program;
	uint32_t number = read_u16(r), learner = number & ~LEARNER_BIT;
	const struct keyed *k;

	if (r->bad || (number & LEARNER_BIT ? learner >= p->learner_count : number >= p->table_count))
		return fail(t->failure, STATUS_INVALID, "there is no table %u", number);
	k = number & LEARNER_BIT ? &p->learners[learner].keyed : &p->tables[number].keyed;
	step->object = number & LEARNER_BIT ? learner_state(p, learner) : number;
	if (k->default_is_const)
		return fail(t->failure, STATUS_INVALID, "the default action of table %s is constant", k->name);
	if (read_action(t, k, true, r, step))
		return -1;
	/* What to restore is read when the step is applied: a transaction may set a default twice. */
	return 0;
}

static int read_members(struct transaction *t, struct reader *r, struct group *group, uint32_t most)
{
	group->count = read_u16(r);
	if (r->bad || group->count > most)
		return fail(t->failure, STATUS_FULL, "a group takes %u members, %u are given", most, group->count);
	group->members = (struct member *)(void *)reserve(t, (group->count + 1) * sizeof(*group->members));
	if (!group->members)
		return no_memory(t);
	for (uint32_t i = 0; i < group->count; i++) {
		group->members[i] = (struct member){ read_u32(r), 0 };
		group->members[i].weight = read_u32(r);
		if (r->bad || !group->members[i].weight || group->members[i].weight > UINT16_MAX)
			return fail(t->failure, STATUS_INVALID, "the weight of a member is 1 to %u", UINT16_MAX);
	}
	return 0;
}

/* The program keeps a copy of its own of a group's members. */
static int keep_members(struct group *to, const struct group *from)
{
	struct member *members = malloc((from->count + 1) * sizeof(*members));

	if (!members)
		return -1;
	if (from->count)
		memcpy(members, from->members, from->count * sizeof(*members));
	free(to->members);
	*to = (struct group){ from->count, members };
	return 0;
}

static int read_group(struct transaction *t, struct reader *r, struct step *step)
{
	struct program *p = t->program;
	struct selector *s;
	struct group *now;

	step->object = read_u16(r);
	step->index = read_u32(r);
	if (r->bad || step->object >= p->selector_count)
		return fail(t->failure, STATUS_INVALID, "there is no selector %u", step->object);
	s = &p->selectors[step->object];
	if (step->index >= s->groups_max)
		return fail(t->failure, STATUS_FULL, "selector %s has groups 0 to %u", s->name, s->groups_max - 1);
	if (read_members(t, r, &step->members, s->members_max))
		return -1;
	now = &s->groups[step->index];
	step->old_members.count = now->count;
	step->old_members.members = (struct member *)(void *)reserve(t, (now->count + 1) * sizeof(*now->members));
	if (!step->old_members.members)
		return no_memory(t);
	if (now->count)
		memcpy(step->old_members.members, now->members, now->count * sizeof(*now->members));
	return keep_members(now, &step->members) ? no_memory(t) : 0;
}

static int read_register(struct transaction *t, struct reader *r, struct step *step)
{
	struct program *p = t->program;

	step->object = read_u16(r);
	step->index = read_u32(r);
	step->value = read_u64(r);
	if (r->bad || step->object >= p->regarray_count)
		return fail(t->failure, STATUS_INVALID, "there is no register array %u", step->object);
	if (step->index >= p->regarrays[step->object].size)
		return fail(t->failure, STATUS_INVALID, "register array %s has no index %u",
			    p->regarrays[step->object].name, step->index);
	return 0;
}

static void profile_name(char *name, size_t size, uint32_t number)
{
	snprintf(name, size, "p%u", number);
}

/* DPDK learns of the rates here, while there is still time to refuse them. */
static int read_meter(struct transaction *t, struct reader *r, struct step *step)
{
	struct program *p = t->program;
	struct meter *m = &step->meter;
	struct rte_meter_trtcm_params params;
	char name[RTE_SWX_CTL_NAME_SIZE];
	int status;

	step->object = read_u16(r);
	step->index = read_u32(r);
	m->set = read_u8(r) != 0;
	if (m->set) {
		m->rate = read_u64(r);
		m->burst = read_u64(r);
		m->peak_rate = read_u64(r);
		m->peak_burst = read_u64(r);
	}
	if (r->bad || step->object >= p->meter_array_count)
		return fail(t->failure, STATUS_INVALID, "there is no meter array %u", step->object);
	if (step->index >= p->meter_arrays[step->object].size)
		return fail(t->failure, STATUS_INVALID, "meter array %s has no index %u",
			    p->meter_arrays[step->object].name, step->index);
	if (!m->set)
		return 0;
	if (!m->rate || !m->burst || !m->peak_burst || m->peak_rate < m->rate)
		return fail(t->failure, STATUS_INVALID,
			    "meter array %s: rates and bursts are at least 1, and the peak rate is not below the rate",
			    p->meter_arrays[step->object].name);
	params = (struct rte_meter_trtcm_params){
		.cir = m->rate, .cbs = m->burst, .pir = m->peak_rate, .pbs = m->peak_burst
	};
	profile_name(name, sizeof(name), p->profiles + 1);
	status = rte_swx_ctl_meter_profile_add(p->pipeline, name, &params);
	if (status)
		return fail(t->failure, STATUS_SYSTEM, "DPDK refuses a meter: %s", strerror(-status));
	m->profile = ++p->profiles;
	return 0;
}

/* Packets stand still. The bucket is full afterwards. */
static void set_meter(struct program *p, struct step *step)
{
	struct meter_array *a = &p->meter_arrays[step->object];
	struct meter *now = &a->meters[step->index];
	char name[RTE_SWX_CTL_NAME_SIZE];
	int status;

	if (p->machine) {
		status = compiled_meter_set(p->machine, step->object, step->index, &step->meter);
	} else if (step->meter.set) {
		profile_name(name, sizeof(name), step->meter.profile);
		status = rte_swx_ctl_meter_set(p->pipeline, a->name, step->index, name);
	} else {
		status = rte_swx_ctl_meter_reset(p->pipeline, a->name, step->index);
	}
	if (status) {
		/* Array, index and profile are there: DPDK has no other reason. A limit must not be lost in silence. */
		fprintf(stderr, "engine: a meter can not be set: %s\n", strerror(-status));
		abort();
	}
	step->old_profile = now->profile;
	*now = step->meter;
}

/* `used`: the transaction is in force, and what its meters were set to before goes. Else what was made for it. */
static void free_profiles(struct transaction *t, bool used)
{
	char name[RTE_SWX_CTL_NAME_SIZE];

	for (uint32_t i = 0; i < t->count; i++) {
		const struct step *step = &t->steps[i];
		uint32_t profile = used ? step->old_profile : step->meter.profile;

		if (step->kind != CHANGE_METER || !profile)
			continue;
		profile_name(name, sizeof(name), profile);
		rte_swx_ctl_meter_profile_delete(t->program->pipeline, name);
	}
}

static int read_step(struct transaction *t, struct reader *r, struct step *step)
{
	enum change kind = read_u8(r);

	step->kind = kind;
	t->touches_tables |= kind != CHANGE_REGISTER && kind != CHANGE_METER;
	switch (kind) {
	case CHANGE_ADD:
	case CHANGE_MODIFY:
	case CHANGE_PUT:
		return read_key(t, r, step) ||
				       read_action(t, &t->program->tables[step->object].keyed, false, r, step) ||
				       index_put(t, step, kind) ?
			       -1 :
			       0;
	case CHANGE_DELETE:
		return read_key(t, r, step) || index_delete(t, step) ? -1 : 0;
	case CHANGE_DEFAULT:
		return read_default(t, r, step);
	case CHANGE_GROUP:
		return read_group(t, r, step);
	case CHANGE_REGISTER:
		return read_register(t, r, step);
	case CHANGE_METER:
		return read_meter(t, r, step);
	}
	return fail(t->failure, STATUS_INVALID, "change %d is not known", kind);
}

/* ---- applying to a copy ---- */

static int put_entry(const struct table *table, void *object, const struct step *step, bool present, uint64_t action,
		     uint8_t *data)
{
	static uint8_t key[KEY_ROOM];
	struct rte_swx_table_entry entry = { .key = key, .action_id = action, .action_data = data };

	memset(key, 0, sizeof(key));
	memcpy(key, step->key, table->keyed.key_bytes);
	return present ? table->ops.add(object, &entry) : table->ops.del(object, &entry);
}

static int put_group(void *object, uint32_t id, const struct group *group)
{
	struct rte_swx_table_selector_group to;
	struct rte_swx_table_selector_member *members = calloc(group->count + 1, sizeof(*members));
	int status;

	if (!members)
		return -ENOMEM;
	TAILQ_INIT(&to.members);
	for (uint32_t i = 0; i < group->count; i++) {
		members[i].member_id = group->members[i].id;
		members[i].member_weight = group->members[i].weight;
		TAILQ_INSERT_TAIL(&to.members, &members[i], node);
	}
	status = rte_swx_table_selector_group_set(object, id, group->count ? &to : NULL);
	free(members);
	return status;
}

static uint32_t default_bytes(const struct program *p, uint32_t state)
{
	return state < p->table_count ? p->tables[state].keyed.data_bytes :
					p->learners[state - learner_state(p, 0)].keyed.data_bytes;
}

static int apply(struct transaction *t, int copy, struct step *step, bool undo)
{
	struct program *p = t->program;
	struct rte_swx_table_state *state = p->state[copy];
	bool is_delete = step->kind == CHANGE_DELETE, present;

	switch (step->kind) {
	case CHANGE_PUT:
	case CHANGE_DELETE:
		if (!p->tables[step->object].exact) {
			t->dirty[step->object] = true;
			return 0;
		}
		present = undo ? step->existed : !is_delete;
		return put_entry(&p->tables[step->object], state[step->object].obj, step, present,
				 undo ? step->old_action : step->action, undo ? step->old_data : step->data);
	case CHANGE_DEFAULT: {
		struct rte_swx_table_state *s = &state[step->object];
		uint32_t bytes = default_bytes(p, step->object);

		if (!undo) {
			step->old_action = s->default_action_id;
			if (s->default_action_data)
				memcpy(step->old_data, s->default_action_data, bytes);
		}
		s->default_action_id = undo ? step->old_action : step->action;
		if (s->default_action_data)
			memcpy(s->default_action_data, undo ? step->old_data : step->data, bytes);
		return 0;
	}
	case CHANGE_GROUP:
		return put_group(state[selector_state(p, step->object)].obj, step->index,
				 undo ? &step->old_members : &step->members);
	default:
		return 0;
	}
}

/* In a table with a prefix the longest wins: DPDK wants to be told so, as it knows priorities only. */
static uint32_t priority_of(const struct table *table, struct cell *c)
{
	const struct entries *e = &table->entries;
	uint32_t open = 8 * e->mask_bytes;

	if (table->match == RTE_SWX_TABLE_MATCH_WILDCARD)
		return PRIORITY_MAX - c->priority;
	for (uint32_t i = 0; i < e->mask_bytes; i++)
		open -= (uint32_t)__builtin_popcount(cell_mask(e, c)[i]);
	return open;
}

/* A table with all its entries, built from nothing. */
static void *build_table(const struct table *table)
{
	const struct entries *e = &table->entries;
	struct rte_swx_table_entry *list = calloc(e->count + 1, sizeof(*list));
	struct rte_swx_table_entry_list all;
	uint32_t count = 0;
	void *object;

	if (!list)
		return NULL;
	TAILQ_INIT(&all);
	for (uint32_t cell = 0; cell < e->cells; cell++) {
		struct cell *c = entries_cell(e, cell);
		struct rte_swx_table_entry *entry;

		if (!c->used)
			continue;
		entry = &list[count++];
		entry->key = cell_key(e, c);
		entry->key_mask = cell_mask(e, c);
		entry->key_priority = priority_of(table, c);
		entry->action_id = c->action;
		entry->action_data = cell_data(e, c);
		TAILQ_INSERT_TAIL(&all, entry, node);
	}
	object = table_create(table, &all);
	free(list);
	return object;
}

static int build_tables(struct transaction *t)
{
	struct program *p = t->program;

	for (uint32_t i = 0; i < p->table_count; i++) {
		if (!t->dirty[i])
			continue;
		t->built[i] = build_table(&p->tables[i]);
		if (!t->built[i])
			return fail(t->failure, STATUS_FULL, "table %s can not be built with %u entries",
				    p->tables[i].keyed.name, p->tables[i].entries.count);
	}
	return 0;
}

static void take_back_index(struct transaction *t)
{
	for (uint32_t i = t->count; i-- > 0;) {
		struct step *step = &t->steps[i];

		if (step->kind == CHANGE_PUT || step->kind == CHANGE_DELETE)
			index_undo(t, step);
		else if (step->kind == CHANGE_GROUP)
			keep_members(&t->program->selectors[step->object].groups[step->index], &step->old_members);
	}
}

static int prepare_copy(struct transaction *t, int copy)
{
	struct program *p = t->program;

	for (uint32_t i = 0; i < t->count; i++) {
		int status = apply(t, copy, &t->steps[i], false);

		if (!status)
			continue;
		t->failure->index = i;
		fail(t->failure, STATUS_FULL, "DPDK refuses the change: %s", strerror(-status));
		while (i-- > 0)
			apply(t, copy, &t->steps[i], true);
		return -1;
	}
	if (!build_tables(t)) {
		for (uint32_t i = 0; i < p->table_count; i++)
			if (t->built[i])
				p->state[copy][i].obj = t->built[i];
		return 0;
	}
	for (uint32_t i = t->count; i-- > 0;)
		apply(t, copy, &t->steps[i], true);
	for (uint32_t i = 0; i < p->table_count; i++)
		if (t->built[i])
			p->tables[i].ops.free(t->built[i]);
	return -1;
}

/* ---- the moment ---- */

static void exchange(struct dataplane *d, void *argument)
{
	struct transaction *t = argument;
	struct program *p = t->program;

	(void)d;
	if (t->touches_tables) {
		p->live = !p->live;
		rte_swx_pipeline_table_state_set(p->pipeline, p->state[p->live]);
	}
	for (uint32_t i = 0; i < t->count; i++) {
		struct step *step = &t->steps[i];

		if (step->kind == CHANGE_METER)
			set_meter(p, step);
		if (step->kind == CHANGE_REGISTER)
			register_write(p, step->object, step->index, step->value);
	}
}

static void follow(struct transaction *t, int copy)
{
	struct program *p = t->program;

	for (uint32_t i = 0; i < t->count; i++)
		if (apply(t, copy, &t->steps[i], false)) {
			/* Two copies that differ would judge packets by turns. */
			fprintf(stderr, "engine: the second copy of the tables refuses what the first one took\n");
			abort();
		}
	for (uint32_t i = 0; i < p->table_count; i++) {
		if (!t->built[i])
			continue;
		p->tables[i].ops.free(p->state[copy][i].obj);
		p->state[copy][i].obj = t->built[i];
	}
}

static int commit(struct transaction *t, struct dataplane *d)
{
	struct program *p = t->program;
	int next = !p->live;

	if (t->touches_tables && prepare_copy(t, next))
		return -1;
	if (d)
		dataplane_call(d, exchange, t);
	else
		exchange(NULL, t);
	if (t->touches_tables)
		follow(t, !next);
	return 0;
}

int transaction_run(struct program *p, struct dataplane *d, struct reader *r, uint32_t count, struct failure *f)
{
	struct transaction t = { .program = p, .failure = f };
	int status = 0;

	t.steps = calloc((size_t)count + 1, sizeof(*t.steps));
	t.dirty = calloc(p->table_count + 1, sizeof(*t.dirty));
	t.built = calloc(p->table_count + 1, sizeof(void *));
	if (!t.steps || !t.dirty || !t.built)
		status = no_memory(&t);
	for (uint32_t i = 0; !status && i < count; i++) {
		status = read_step(&t, r, &t.steps[i]);
		if (status)
			f->index = i;
		else
			t.count++;
	}
	if (!status && !read_done(r))
		status = fail(f, STATUS_INVALID, "the message is longer than its changes");
	if (!status)
		status = commit(&t, d);
	if (status)
		take_back_index(&t);
	if (t.steps)
		free_profiles(&t, !status);
	while (t.arena) {
		struct arena_block *next = t.arena->next;

		free(t.arena);
		t.arena = next;
	}
	free(t.steps);
	free(t.dirty);
	free(t.built);
	return status;
}

/* ---- reading ---- */

static void write_fields(const struct field *fields, uint32_t count, const uint8_t *memory, struct writer *w)
{
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *to = write_space(w, fields[i].bytes);

		if (to)
			field_to_message(&fields[i], memory, to);
	}
}

static void write_action(const struct program *p, uint64_t action, const uint8_t *data, struct writer *w)
{
	write_u16(w, (uint16_t)action);
	write_fields(p->actions[action].fields, p->actions[action].field_count, data, w);
}

void transaction_read(const struct program *p, uint32_t table, uint32_t *cursor, struct writer *w, uint32_t *count)
{
	const struct table *t = &p->tables[table];
	const struct entries *e = &t->entries;

	*count = 0;
	while (*cursor < e->cells && w->length < REPLY_PART_MAX) {
		struct cell *c = entries_cell(e, (*cursor)++);

		if (!c->used)
			continue;
		write_fields(t->keyed.fields, t->keyed.field_count, cell_key(e, c), w);
		if (!t->exact)
			write_fields(t->keyed.fields, t->keyed.field_count, cell_mask(e, c), w);
		if (!t->exact && t->match == RTE_SWX_TABLE_MATCH_WILDCARD)
			write_u32(w, c->priority);
		write_action(p, c->action, cell_data(e, c), w);
		++*count;
	}
	if (*cursor >= e->cells)
		*cursor = NOWHERE;
}

void transaction_read_default(const struct program *p, uint32_t state, struct writer *w)
{
	const struct rte_swx_table_state *s = &p->state[p->live][state];

	write_action(p, s->default_action_id, s->default_action_data, w);
}
