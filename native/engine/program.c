/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_swx_table_selector.h>

#include "compiled.h"
#include "exact.h"
#include "learned.h"
#include "slots.h"
#include "spec.h"

/* Exported by the static library only. */
struct pipeline_spec;
struct pipeline_spec *pipeline_spec_parse(FILE *spec, uint32_t *err_line, const char **err_msg);
int pipeline_spec_configure(struct rte_swx_pipeline *p, struct pipeline_spec *s, const char **err_msg);
void pipeline_spec_free(struct pipeline_spec *s);

#define NODE 0

static int no_memory(struct failure *f)
{
	return fail(f, STATUS_SYSTEM, "no memory for the program");
}

void field_to_memory(const struct field *field, const uint8_t *message, uint8_t *memory)
{
	memory += field->offset;
	if (field->network_order) {
		memcpy(memory, message, field->bytes);
		return;
	}
	for (uint32_t i = 0; i < field->bytes; i++)
		memory[i] = message[field->bytes - 1 - i];
}

void field_to_message(const struct field *field, const uint8_t *memory, uint8_t *message)
{
	memory += field->offset;
	if (field->network_order) {
		memcpy(message, memory, field->bytes);
		return;
	}
	for (uint32_t i = 0; i < field->bytes; i++)
		message[i] = memory[field->bytes - 1 - i];
}

uint32_t selector_state(const struct program *p, uint32_t selector)
{
	return p->table_count + selector;
}

uint32_t learner_state(const struct program *p, uint32_t learner)
{
	return p->table_count + p->selector_count + learner;
}

uint64_t register_read(const struct program *p, uint32_t array, uint32_t index)
{
	uint64_t value = 0;

	if (p->machine)
		return p->machine->registers[array][index];
	rte_swx_ctl_pipeline_regarray_read(p->pipeline, p->regarrays[array].name, index, &value);
	return value;
}

void register_write(struct program *p, uint32_t array, uint32_t index, uint64_t value)
{
	if (p->machine)
		p->machine->registers[array][index] = value;
	else
		rte_swx_ctl_pipeline_regarray_write(p->pipeline, p->regarrays[array].name, index, value);
}

/* ---- what DPDK says of the program ---- */

static int read_action(struct program *p, uint32_t id, struct failure *f)
{
	struct rte_swx_ctl_action_info info;
	struct action *a = &p->actions[id];

	if (rte_swx_ctl_action_info_get(p->pipeline, id, &info))
		return fail(f, STATUS_SYSTEM, "action %u can not be described", id);
	memcpy(a->name, info.name, sizeof(a->name));
	a->field_count = info.n_args;
	a->fields = calloc(info.n_args + 1, sizeof(*a->fields));
	if (!a->fields)
		return no_memory(f);
	for (uint32_t i = 0; i < info.n_args; i++) {
		struct rte_swx_ctl_action_arg_info arg;

		if (rte_swx_ctl_action_arg_info_get(p->pipeline, id, i, &arg))
			return fail(f, STATUS_SYSTEM, "arguments of action %s can not be described", a->name);
		a->fields[i] = (struct field){
			.bytes = (uint16_t)(arg.n_bits / 8),
			.offset = a->bytes,
			.network_order = arg.is_network_byte_order || arg.n_bits > 64,
		};
		a->bytes += arg.n_bits / 8;
	}
	return 0;
}

typedef int (*field_info_get)(struct rte_swx_pipeline *p, uint32_t table, uint32_t field,
			      struct rte_swx_ctl_table_match_field_info *info);

static int read_fields(struct program *p, uint32_t id, struct keyed *k, field_info_get get, struct failure *f)
{
	uint32_t from = UINT32_MAX, to = 0;

	k->fields = calloc(k->field_count + 1, sizeof(*k->fields));
	if (!k->fields)
		return no_memory(f);
	for (uint32_t i = 0; i < k->field_count; i++) {
		struct rte_swx_ctl_table_match_field_info info;
		struct field *field = &k->fields[i];

		if (get(p->pipeline, id, i, &info))
			return fail(f, STATUS_SYSTEM, "keys of table %s can not be described", k->name);
		*field = (struct field){
			.bytes = (uint16_t)(info.n_bits / 8),
			.offset = info.offset / 8,
			.network_order = info.is_header || info.n_bits > 64,
			.match = info.match_type,
		};
		if (field->offset < from)
			from = field->offset;
		if (field->offset + field->bytes > to)
			to = field->offset + field->bytes;
		k->message_bytes += field->bytes;
	}
	k->key_offset = k->field_count ? from : 0;
	k->key_bytes = k->field_count ? to - from : 0;
	k->mask0 = calloc(1, k->key_bytes + 1);
	if (!k->mask0)
		return no_memory(f);
	for (uint32_t i = 0; i < k->field_count; i++) {
		k->fields[i].offset -= k->key_offset;
		memset(k->mask0 + k->fields[i].offset, 0xff, k->fields[i].bytes);
	}
	return 0;
}

typedef int (*action_info_get)(struct rte_swx_pipeline *p, uint32_t table, uint32_t action,
			       struct rte_swx_ctl_table_action_info *info);

static int read_permitted(struct program *p, uint32_t id, uint32_t state, struct keyed *k, action_info_get get,
			  struct failure *f)
{
	k->permitted = calloc(k->permitted_count + 1, sizeof(*k->permitted));
	if (!k->permitted)
		return no_memory(f);
	for (uint32_t i = 0; i < k->permitted_count; i++) {
		struct rte_swx_ctl_table_action_info info;

		if (get(p->pipeline, id, i, &info) || info.action_id >= p->action_count)
			return fail(f, STATUS_SYSTEM, "actions of table %s can not be described", k->name);
		k->permitted[i] = (struct permitted){
			.action = info.action_id,
			.in_entries = info.action_is_for_table_entries,
			.as_default = info.action_is_for_default_entry,
		};
		if (p->actions[info.action_id].bytes > k->data_bytes)
			k->data_bytes = p->actions[info.action_id].bytes;
	}
	k->first_default_action = p->state[0][state].default_action_id;
	k->first_default_data = calloc(1, k->data_bytes + 1);
	if (!k->first_default_data || k->first_default_action >= p->action_count)
		return no_memory(f);
	if (p->state[0][state].default_action_data)
		memcpy(k->first_default_data, p->state[0][state].default_action_data,
		       p->actions[k->first_default_action].bytes);
	return 0;
}

static int read_table(struct program *p, uint32_t id, struct failure *f)
{
	struct rte_swx_ctl_table_info info;
	struct table *t = &p->tables[id];
	struct keyed *k = &t->keyed;
	int stub = 0;

	if (rte_swx_ctl_table_info_get(p->pipeline, id, &info) ||
	    rte_swx_ctl_table_ops_get(p->pipeline, id, &t->ops, &stub))
		return fail(f, STATUS_SYSTEM, "table %u can not be described", id);
	memcpy(k->name, info.name, sizeof(k->name));
	memcpy(t->args, info.args, sizeof(t->args));
	k->size = info.size;
	k->field_count = info.n_match_fields;
	k->permitted_count = info.n_actions;
	k->default_is_const = info.default_action_is_const;
	t->stub = stub;
	t->hash = info.hash_func;
	if (read_fields(p, id, k, rte_swx_ctl_table_match_field_info_get, f) ||
	    read_permitted(p, id, id, k, rte_swx_ctl_table_action_info_get, f))
		return -1;
	t->match = RTE_SWX_TABLE_MATCH_EXACT;
	for (uint32_t i = 0; i < k->field_count; i++) {
		if (k->fields[i].match == RTE_SWX_TABLE_MATCH_WILDCARD)
			t->match = RTE_SWX_TABLE_MATCH_WILDCARD;
		if (k->fields[i].match == RTE_SWX_TABLE_MATCH_LPM && t->match != RTE_SWX_TABLE_MATCH_WILDCARD)
			t->match = RTE_SWX_TABLE_MATCH_LPM;
	}
	t->exact = !t->stub && t->match == RTE_SWX_TABLE_MATCH_EXACT;
	if (t->exact && (!t->ops.add || !t->ops.del))
		return fail(f, STATUS_UNSUPPORTED, "table %s has a type that does not change in place", k->name);
	if (entries_init(&t->entries, k->key_bytes, t->exact ? 0 : k->key_bytes, k->data_bytes))
		return no_memory(f);
	return 0;
}

static int read_learner(struct program *p, uint32_t id, struct failure *f)
{
	struct rte_swx_ctl_learner_info info;
	struct learner *l = &p->learners[id];
	struct keyed *k = &l->keyed;

	if (rte_swx_ctl_learner_info_get(p->pipeline, id, &info))
		return fail(f, STATUS_SYSTEM, "learned table %u can not be described", id);
	memcpy(k->name, info.name, sizeof(k->name));
	k->size = info.size;
	k->field_count = info.n_match_fields;
	k->permitted_count = info.n_actions;
	k->default_is_const = info.default_action_is_const;
	l->timeout_count = info.n_key_timeouts;
	if (read_fields(p, id, k, rte_swx_ctl_learner_match_field_info_get, f) ||
	    read_permitted(p, id, learner_state(p, id), k, rte_swx_ctl_learner_action_info_get, f))
		return -1;
	l->readable = learned_verify(k);
	return 0;
}

static int read_selector(struct program *p, uint32_t id, struct failure *f)
{
	struct rte_swx_ctl_selector_info info;
	struct selector *s = &p->selectors[id];

	if (rte_swx_ctl_selector_info_get(p->pipeline, id, &info))
		return fail(f, STATUS_SYSTEM, "selector %u can not be described", id);
	memcpy(s->name, info.name, sizeof(s->name));
	s->groups_max = info.n_groups_max;
	s->members_max = info.n_members_per_group_max;
	s->groups = calloc(info.n_groups_max, sizeof(*s->groups));
	return s->groups ? 0 : no_memory(f);
}

static int read_regarray(struct program *p, uint32_t id, struct failure *f)
{
	struct rte_swx_ctl_regarray_info info;

	if (rte_swx_ctl_regarray_info_get(p->pipeline, id, &info))
		return fail(f, STATUS_SYSTEM, "register array %u can not be described", id);
	memcpy(p->regarrays[id].name, info.name, sizeof(info.name));
	p->regarrays[id].size = info.size;
	return 0;
}

static int read_meter_array(struct program *p, uint32_t id, struct failure *f)
{
	struct rte_swx_ctl_metarray_info info;
	struct meter_array *a = &p->meter_arrays[id];

	if (rte_swx_ctl_metarray_info_get(p->pipeline, id, &info))
		return fail(f, STATUS_SYSTEM, "meter array %u can not be described", id);
	memcpy(a->name, info.name, sizeof(info.name));
	a->size = info.size;
	a->meters = calloc(info.size + 1, sizeof(*a->meters));
	return a->meters ? 0 : no_memory(f);
}

static int read_program(struct program *p, struct failure *f)
{
	struct rte_swx_ctl_pipeline_info info;

	if (rte_swx_ctl_pipeline_info_get(p->pipeline, &info) ||
	    rte_swx_pipeline_table_state_get(p->pipeline, &p->state[0]))
		return fail(f, STATUS_SYSTEM, "the program can not be described");
	p->action_count = info.n_actions;
	p->table_count = info.n_tables;
	p->selector_count = info.n_selectors;
	p->learner_count = info.n_learners;
	p->regarray_count = info.n_regarrays;
	p->meter_array_count = info.n_metarrays;
	p->actions = calloc(info.n_actions + 1, sizeof(*p->actions));
	p->tables = calloc(info.n_tables + 1, sizeof(*p->tables));
	p->selectors = calloc(info.n_selectors + 1, sizeof(*p->selectors));
	p->learners = calloc(info.n_learners + 1, sizeof(*p->learners));
	p->regarrays = calloc(info.n_regarrays + 1, sizeof(*p->regarrays));
	p->meter_arrays = calloc(info.n_metarrays + 1, sizeof(*p->meter_arrays));
	if (!p->actions || !p->tables || !p->selectors || !p->learners || !p->regarrays || !p->meter_arrays)
		return no_memory(f);
	for (uint32_t i = 0; i < p->action_count; i++)
		if (read_action(p, i, f))
			return -1;
	for (uint32_t i = 0; i < p->table_count; i++)
		if (read_table(p, i, f))
			return -1;
	for (uint32_t i = 0; i < p->selector_count; i++)
		if (read_selector(p, i, f))
			return -1;
	for (uint32_t i = 0; i < p->learner_count; i++)
		if (read_learner(p, i, f))
			return -1;
	for (uint32_t i = 0; i < p->regarray_count; i++)
		if (read_regarray(p, i, f))
			return -1;
	for (uint32_t i = 0; i < p->meter_array_count; i++)
		if (read_meter_array(p, i, f))
			return -1;
	return 0;
}

/* ---- the second copy of the tables ---- */

void *table_create(const struct table *t, struct rte_swx_table_entry_list *entries)
{
	struct rte_swx_table_params params = {
		.match_type = t->match,
		.key_size = t->keyed.key_bytes,
		.key_offset = t->keyed.key_offset,
		.key_mask0 = t->keyed.mask0,
		.action_data_size = t->keyed.data_bytes,
		.hash_func = t->hash,
		.n_keys_max = t->keyed.size,
	};

	return t->ops.create(&params, entries, t->args, NODE);
}

void *learner_create(const struct program *p, uint32_t learner)
{
	const struct learner *l = &p->learners[learner];
	uint32_t timeouts[RTE_SWX_TABLE_LEARNER_N_KEY_TIMEOUTS_MAX];
	struct rte_swx_table_learner_params params = {
		.key_size = l->keyed.key_bytes,
		.key_offset = l->keyed.key_offset,
		.key_mask0 = l->keyed.mask0,
		.action_data_size = l->keyed.data_bytes,
		.n_keys_max = l->keyed.size,
		.key_timeout = timeouts,
		.n_key_timeouts = l->timeout_count,
	};

	if (l->timeout_count > RTE_DIM(timeouts))
		return NULL;
	for (uint32_t i = 0; i < l->timeout_count; i++)
		if (rte_swx_ctl_pipeline_learner_timeout_get(p->pipeline, learner, i, &timeouts[i]))
			return NULL;
	return rte_swx_table_learner_create(&params, NODE);
}

static void *selector_create(const struct program *p, uint32_t id)
{
	struct rte_swx_ctl_table_match_field_info group, member, field;
	struct rte_swx_ctl_selector_info info;
	struct rte_swx_table_selector_params params = { .selector_offset = UINT32_MAX };
	uint8_t mask[256] = { 0 };
	uint32_t end = 0;

	if (rte_swx_ctl_selector_info_get(p->pipeline, id, &info) ||
	    rte_swx_ctl_selector_group_id_field_info_get(p->pipeline, id, &group) ||
	    rte_swx_ctl_selector_member_id_field_info_get(p->pipeline, id, &member))
		return NULL;
	for (uint32_t i = 0; i < info.n_selector_fields; i++) {
		uint32_t from;

		if (rte_swx_ctl_selector_field_info_get(p->pipeline, id, i, &field))
			return NULL;
		from = field.offset / 8;
		if (from + field.n_bits / 8 > sizeof(mask))
			return NULL;
		memset(mask + from, 0xff, field.n_bits / 8);
		params.selector_offset = RTE_MIN(params.selector_offset, from);
		end = RTE_MAX(end, from + field.n_bits / 8);
	}
	params.group_id_offset = group.offset / 8;
	params.member_id_offset = member.offset / 8;
	params.selector_size = end - params.selector_offset;
	params.selector_mask = mask + params.selector_offset;
	params.n_groups_max = info.n_groups_max;
	params.n_members_per_group_max = info.n_members_per_group_max;
	return rte_swx_table_selector_create(&params, NULL, NODE);
}

static int copy_default(struct rte_swx_table_state *to, const struct rte_swx_table_state *from, uint32_t bytes)
{
	to->default_action_id = from->default_action_id;
	to->default_action_data = calloc(1, bytes + 1);
	if (!to->default_action_data)
		return -1;
	if (from->default_action_data && bytes)
		memcpy(to->default_action_data, from->default_action_data, bytes);
	return 0;
}

static int make_second_copy(struct program *p, struct failure *f)
{
	uint32_t count = p->table_count + p->selector_count + p->learner_count;
	struct rte_swx_table_state *second = calloc(count + 1, sizeof(*second));

	p->state[1] = second;
	if (!second)
		return no_memory(f);
	for (uint32_t i = 0; i < p->table_count; i++) {
		const struct table *t = &p->tables[i];

		if (copy_default(&second[i], &p->state[0][i], t->keyed.data_bytes))
			return no_memory(f);
		/* Tables that are built anew need one object at a time: the copies share it. */
		if (t->stub || !t->exact) {
			second[i].obj = p->state[0][i].obj;
			continue;
		}
		second[i].obj = table_create(t, NULL);
		if (!second[i].obj)
			return fail(f, STATUS_SYSTEM, "no memory for table %s; start the engine with more (--memory)",
				    t->keyed.name);
	}
	for (uint32_t i = 0; i < p->selector_count; i++) {
		second[selector_state(p, i)].obj = selector_create(p, i);
		if (!second[selector_state(p, i)].obj)
			return fail(f, STATUS_SYSTEM, "no memory for selector %s", p->selectors[i].name);
	}
	for (uint32_t i = 0; i < p->learner_count; i++) {
		uint32_t at = learner_state(p, i);

		second[at].obj = p->state[0][at].obj;
		if (copy_default(&second[at], &p->state[0][at], p->learners[i].keyed.data_bytes))
			return no_memory(f);
	}
	return 0;
}

/* ---- building ---- */

static int configure(struct program *p, const struct spec_text *text, struct failure *f)
{
	FILE *file = fmemopen(text->text, text->length, "r");
	struct pipeline_spec *spec;
	const char *words = "no reason given";
	uint32_t line = 0;
	int status;

	if (!file)
		return fail(f, STATUS_SYSTEM, "the spec can not be read: %s", strerror(errno));
	spec = pipeline_spec_parse(file, &line, &words);
	fclose(file);
	if (!spec)
		return fail(f, STATUS_SPEC, "spec line %u: %s",
			    line && line <= text->lines ? text->origin[line] : line, words);
	status = pipeline_spec_configure(p->pipeline, spec, &words);
	pipeline_spec_free(spec);
	if (status)
		return fail(f, STATUS_SPEC, "DPDK refuses the spec: %s (%s)", words, strerror(-status));
	status = rte_swx_pipeline_build(p->pipeline);
	if (status)
		return fail(f, STATUS_SPEC, "DPDK can not build the pipeline: %s", strerror(-status));
	return 0;
}

static int build(struct program *p, const struct spec_text *text, struct slots *slots, struct failure *f)
{
	static unsigned int serial;
	char name[32];
	int status;

	snprintf(name, sizeof(name), "program%u", serial++);
	status = rte_swx_pipeline_config(&p->pipeline, name, NODE);
	if (status)
		return fail(f, STATUS_SYSTEM, "no pipeline: %s", strerror(-status));
	status = rte_swx_pipeline_table_type_register(p->pipeline, EXACT_TYPE, RTE_SWX_TABLE_MATCH_EXACT, &exact_ops);
	if (status)
		return fail(f, STATUS_SYSTEM, "no type of tables: %s", strerror(-status));
	if (slots_give(slots, p->pipeline, f) || configure(p, text, f) || read_program(p, f) || make_second_copy(p, f))
		return -1;
	return 0;
}

struct program *program_build(const char *spec, uint32_t length, struct slots *slots, struct failure *f)
{
	struct program *p = calloc(1, sizeof(*p));
	struct spec_text text;

	if (!p) {
		no_memory(f);
		return NULL;
	}
	p->spec = malloc(length + 1);
	if (!p->spec) {
		no_memory(f);
		program_free(p);
		return NULL;
	}
	memcpy(p->spec, spec, length);
	p->spec_length = length;
	if (spec_prepare(spec, length, slots_count(slots), compiled_has(spec, length), &text, f)) {
		program_free(p);
		return NULL;
	}
	p->reach = text.reach;
	if (build(p, &text, slots, f)) {
		program_free(p);
		p = NULL;
	} else {
		p->machine = compiled_machine(p);
	}
	spec_text_free(&text);
	return p;
}

static void keyed_free(struct keyed *k)
{
	free(k->fields);
	free(k->mask0);
	free(k->permitted);
	free(k->first_default_data);
}

/* The copy that DPDK does not know; it frees the other one, and what both share. */
static void free_other_copy(struct program *p)
{
	struct rte_swx_table_state *other = p->state[!p->live], *live = p->state[p->live];

	if (!other || !live)
		return;
	for (uint32_t i = 0; i < p->table_count + p->selector_count + p->learner_count; i++) {
		if (other[i].obj && other[i].obj != live[i].obj) {
			if (i < p->table_count)
				p->tables[i].ops.free(other[i].obj);
			else if (i < p->table_count + p->selector_count)
				rte_swx_table_selector_free(other[i].obj);
		}
		free(other[i].default_action_data);
	}
	free(other);
}

void program_free(struct program *p)
{
	if (!p)
		return;
	free_other_copy(p);
	compiled_free(p->machine);
	for (uint32_t i = 0; p->tables && i < p->table_count; i++) {
		keyed_free(&p->tables[i].keyed);
		entries_free(&p->tables[i].entries);
	}
	for (uint32_t i = 0; p->learners && i < p->learner_count; i++)
		keyed_free(&p->learners[i].keyed);
	for (uint32_t i = 0; p->selectors && i < p->selector_count; i++) {
		for (uint32_t g = 0; p->selectors[i].groups && g < p->selectors[i].groups_max; g++)
			free(p->selectors[i].groups[g].members);
		free(p->selectors[i].groups);
	}
	for (uint32_t i = 0; p->actions && i < p->action_count; i++)
		free(p->actions[i].fields);
	free(p->tables);
	free(p->learners);
	free(p->selectors);
	free(p->actions);
	free(p->regarrays);
	for (uint32_t i = 0; p->meter_arrays && i < p->meter_array_count; i++)
		free(p->meter_arrays[i].meters);
	free(p->meter_arrays);
	free(p->spec);
	free(p->blob);
	if (p->pipeline)
		rte_swx_pipeline_free(p->pipeline);
	free(p);
}

/* ---- description ---- */

static void describe_keyed(const struct keyed *k, struct writer *w)
{
	write_name(w, k->name);
	write_u32(w, k->size);
	write_u8(w, k->default_is_const);
	write_u8(w, (uint8_t)k->field_count);
	for (uint32_t i = 0; i < k->field_count; i++)
		write_u16(w, k->fields[i].bytes);
	write_u16(w, (uint16_t)k->permitted_count);
	for (uint32_t i = 0; i < k->permitted_count; i++) {
		write_u16(w, (uint16_t)k->permitted[i].action);
		write_u8(w, (uint8_t)(k->permitted[i].in_entries | k->permitted[i].as_default << 1));
	}
}

void program_describe(const struct program *p, struct writer *w)
{
	write_u16(w, (uint16_t)p->action_count);
	for (uint32_t i = 0; i < p->action_count; i++) {
		write_name(w, p->actions[i].name);
		write_u8(w, (uint8_t)p->actions[i].field_count);
		for (uint32_t j = 0; j < p->actions[i].field_count; j++)
			write_u16(w, p->actions[i].fields[j].bytes);
	}
	write_u16(w, (uint16_t)p->table_count);
	for (uint32_t i = 0; i < p->table_count; i++) {
		const struct table *t = &p->tables[i];

		describe_keyed(&t->keyed, w);
		write_u8(w, t->stub ? 0 : t->exact ? 1 : t->match == RTE_SWX_TABLE_MATCH_LPM ? 2 : 3);
	}
	write_u16(w, (uint16_t)p->learner_count);
	for (uint32_t i = 0; i < p->learner_count; i++) {
		describe_keyed(&p->learners[i].keyed, w);
		write_u8(w, p->learners[i].readable);
	}
	write_u16(w, (uint16_t)p->selector_count);
	for (uint32_t i = 0; i < p->selector_count; i++) {
		write_name(w, p->selectors[i].name);
		write_u32(w, p->selectors[i].groups_max);
		write_u32(w, p->selectors[i].members_max);
	}
	write_u16(w, (uint16_t)p->regarray_count);
	for (uint32_t i = 0; i < p->regarray_count; i++) {
		write_name(w, p->regarrays[i].name);
		write_u32(w, p->regarrays[i].size);
	}
	write_u16(w, (uint16_t)p->meter_array_count);
	for (uint32_t i = 0; i < p->meter_array_count; i++) {
		write_name(w, p->meter_arrays[i].name);
		write_u32(w, p->meter_arrays[i].size);
	}
}
