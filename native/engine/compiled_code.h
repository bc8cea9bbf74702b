/* SPDX-License-Identifier: Apache-2.0
 *
 * What the C code of a compiled program is made of. Each piece does what src/p4switch/interpreter says of the instruction:
 * header fields are big-endian, metadata and arguments of actions little-endian, arithmetic has 64 bits.
 */
#ifndef COMPILED_CODE_H
#define COMPILED_CODE_H

#include <string.h>

#include <rte_byteorder.h>
#include <rte_cycles.h>
#include <rte_hash_crc.h>
#include <rte_prefetch.h>
#include <rte_swx_ctl.h>
#include <rte_swx_table_learner.h>
#include <rte_swx_table_selector.h>

#include "compiled.h"
#include "exact.h"
#include "spec.h"

#define NO_LEARNER UINT32_MAX

/* Something that emit sends. */
struct emitted {
	const uint8_t *bytes;
	uint32_t length;
};

/* What one packet has, the same in all programs. It is the first member of a program's `struct lane`. */
struct lane_head {
	/* Where it goes on, and whose turn it is before. */
	const void *resume;
	struct lane_head *next, *before;
	struct compiled_packet *packet;
	/* What was not extracted yet. The length may fall below 0 and comes back up, as in DPDK. */
	uint8_t *at;
	uint32_t length;
	uint32_t emitted_count;
	uint64_t valid;
	/* The last look-up. */
	uint8_t *key;
	uint64_t action;
	uint8_t *data;
	size_t entry;
	int hit;
	/* The last look-up in a learned table: its number and its time. */
	uint32_t learner;
	uint64_t time;
	uint8_t *mailbox;
	/* A look-up in an exact table that is under way. */
	const struct exact *exact;
	const struct exact_bucket *bucket;
	uint32_t tag;
};

/* ---- fields ---- */

static __rte_always_inline uint64_t get_le(const uint8_t *p, uint32_t bytes)
{
	uint64_t v8;
	uint32_t v4;
	uint16_t v2;

	switch (bytes) {
	case 1:
		return *p;
	case 2:
		memcpy(&v2, p, 2);
		return v2;
	case 3:
		return get_le(p, 2) | (uint64_t)p[2] << 16;
	case 4:
		memcpy(&v4, p, 4);
		return v4;
	case 5:
		return get_le(p, 4) | (uint64_t)p[4] << 32;
	case 6:
		return get_le(p, 4) | get_le(p + 4, 2) << 32;
	case 7:
		return get_le(p, 4) | get_le(p + 4, 3) << 32;
	default:
		memcpy(&v8, p, 8);
		return v8;
	}
}

static __rte_always_inline void put_le(uint8_t *p, uint32_t bytes, uint64_t v)
{
	uint32_t v4 = (uint32_t)v;
	uint16_t v2 = (uint16_t)v;

	switch (bytes) {
	case 1:
		*p = (uint8_t)v;
		break;
	case 2:
		memcpy(p, &v2, 2);
		break;
	case 3:
		put_le(p, 2, v);
		p[2] = (uint8_t)(v >> 16);
		break;
	case 4:
		memcpy(p, &v4, 4);
		break;
	case 5:
		put_le(p, 4, v);
		p[4] = (uint8_t)(v >> 32);
		break;
	case 6:
		put_le(p, 4, v);
		put_le(p + 4, 2, v >> 32);
		break;
	case 7:
		put_le(p, 4, v);
		put_le(p + 4, 3, v >> 32);
		break;
	default:
		memcpy(p, &v, 8);
	}
}

static __rte_always_inline uint64_t get_be(const uint8_t *p, uint32_t bytes)
{
	return rte_bswap64(get_le(p, bytes)) >> (64 - 8 * bytes);
}

static __rte_always_inline void put_be(uint8_t *p, uint32_t bytes, uint64_t v)
{
	put_le(p, bytes, rte_bswap64(v) >> (64 - 8 * bytes));
}

/* ---- checksums: on memory as it lies ---- */

static inline void checksum(uint8_t *field, uint64_t addend)
{
	uint64_t sum = (~get_le(field, 2) & 0xffff) + addend;

	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	sum = ~sum & 0xffff;
	/* 0 stands for "no checksum" in UDP; 0xffff is its equal. */
	put_le(field, 2, sum ? sum : 0xffff);
}

static inline void checksum_add(uint8_t *field, uint64_t value)
{
	checksum(field, (value & 0xffffffff) + (value >> 32));
}

static inline void checksum_subtract(uint8_t *field, uint64_t value)
{
	/* A multiple of 0xffff that keeps the difference positive. */
	checksum(field, UINT64_C(0xffff00000) - (value & 0xffffffff) - (value >> 32));
}

static inline void checksum_add_words(uint8_t *field, const uint8_t *words, uint32_t bytes)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i + 4 <= bytes; i += 4)
		sum += get_le(words + i, 4);
	checksum(field, sum);
}

/* ---- meters ---- */

static inline uint64_t meter_run(struct meter_cell *cell, uint64_t amount, uint64_t colour)
{
	enum rte_color in = colour > RTE_COLOR_RED ? RTE_COLOR_RED : (enum rte_color)colour;

	if (!cell->set)
		return RTE_COLOR_GREEN;
	return rte_meter_trtcm_color_aware_check(&cell->meter, &cell->profile, rte_get_tsc_cycles(), (uint32_t)amount, in);
}

/* ---- learned tables: what follows means the one that was looked up last ---- */

static inline uint8_t *learner_mailbox(const struct machine *m, const struct lane_head *l, uint32_t learner)
{
	return l->mailbox + (1 + learner) * m->mailbox_bytes;
}

static inline void *learner_object(const struct machine *m, uint32_t learner)
{
	return m->state[m->code->table_count + m->code->selector_count + learner].obj;
}

static inline struct look_ups *learner_look_ups(const struct machine *m, uint32_t learner)
{
	return &m->look_ups[m->code->table_count + learner];
}

static inline void learn(struct machine *m, struct lane_head *l, uint64_t action, uint8_t *data, uint64_t timeout)
{
	if (l->learner == NO_LEARNER)
		return;
	if (rte_swx_table_learner_add(learner_object(m, l->learner), learner_mailbox(m, l, l->learner), l->time, action, data,
				      (uint32_t)timeout))
		learner_look_ups(m, l->learner)->not_learned++;
	else
		learner_look_ups(m, l->learner)->learned++;
}

static inline void renew(struct machine *m, struct lane_head *l)
{
	if (l->learner == NO_LEARNER)
		return;
	rte_swx_table_learner_rearm(learner_object(m, l->learner), learner_mailbox(m, l, l->learner), l->time);
	learner_look_ups(m, l->learner)->renewed++;
}

static inline void renew_with(struct machine *m, struct lane_head *l, uint64_t timeout)
{
	if (l->learner == NO_LEARNER)
		return;
	rte_swx_table_learner_rearm_new(learner_object(m, l->learner), learner_mailbox(m, l, l->learner), l->time,
					(uint32_t)timeout);
	learner_look_ups(m, l->learner)->renewed++;
}

static inline void forget(struct machine *m, struct lane_head *l)
{
	if (l->learner == NO_LEARNER)
		return;
	rte_swx_table_learner_delete(learner_object(m, l->learner), learner_mailbox(m, l, l->learner));
	learner_look_ups(m, l->learner)->forgotten++;
}

/* ---- look-ups ---- */

/* The others have their turn, while the memory that was asked for comes. */
#define YIELD(label) \
	do { \
		l->head.resume = &&label; \
		l = (__typeof__(l))(void *)l->head.next; \
		goto *l->head.resume; \
	} while (0)

/* After a look-up: which action, with what. `state`, and among all counts, `number`. */
static __rte_always_inline void found(struct machine *m, struct lane_head *l, uint32_t state, uint32_t number)
{
	struct look_ups *counts = &m->look_ups[number];

	if (!l->hit) {
		l->action = m->state[state].default_action_id;
		l->data = m->state[state].default_action_data;
	}
	counts->by_hit[l->hit != 0]++;
	counts->by_action[l->action]++;
}

#define LOOK_UP(label, table, where) \
	l->head.key = (where); \
label: \
	if (!m->look_up[table](m->state[table].obj, l->head.mailbox, &l->head.key, &l->head.action, &l->head.data, \
			       &l->head.entry, &l->head.hit)) \
		YIELD(label); \
	found(m, &l->head, table, table)

/*
 * In an exact table: the bucket, then the entry that may be it, then whether it is. The key is made twice: it is not worth
 * keeping, and nothing in it changes meanwhile.
 */
static __rte_always_inline void exact_begin(struct lane_head *l, const struct exact *t, const uint64_t *key, uint32_t words)
{
	l->exact = t;
	l->tag = exact_tag(key, words);
	l->bucket = &t->buckets[l->tag & t->bucket_mask];
	rte_prefetch0(l->bucket);
}

static __rte_always_inline const uint8_t *exact_entry(const struct exact *t, uint32_t number)
{
	return t->entries + (size_t)(number - 1) * t->stride;
}

static __rte_always_inline void exact_candidate(struct lane_head *l)
{
	const struct exact_bucket *b = l->bucket;
	uint32_t found = 0;

	for (uint32_t i = 0; i < EXACT_SLOTS; i++)
		found |= (uint32_t)(b->tag[i] == l->tag) << i;
	l->data = NULL;
	for (; found; found &= found - 1) {
		uint32_t number = b->entry[__builtin_ctz(found)];

		if (!number)
			continue;
		l->data = (uint8_t *)(uintptr_t)exact_entry(l->exact, number);
		rte_prefetch0(l->data);
		if (l->exact->stride > RTE_CACHE_LINE_SIZE)
			rte_prefetch0(l->data + RTE_CACHE_LINE_SIZE);
		return;
	}
}

static __rte_always_inline void exact_end(struct lane_head *l, const uint64_t *key, uint32_t words)
{
	/* Two keys with one hash, and buckets that overflow, are rare. */
	if (l->data ? exact_differ(key, l->data, words) : l->bucket->passed)
		l->data = (uint8_t *)(uintptr_t)exact_find(l->exact, key, l->tag);
	l->hit = l->data != NULL;
	if (!l->hit)
		return;
	l->entry = (size_t)(l->data - l->exact->entries) / l->exact->stride;
	l->action = exact_word(l->data + 8 * words, 8);
	l->data += 8 * words + 8;
}

#define LOOK_UP_EXACT(first, second, table, words, key) \
	{ \
		uint64_t k[words]; \
\
		key(l, k); \
		exact_begin(&l->head, m->state[table].obj, k, words); \
	} \
	if (l->head.exact->count > EXACT_FEW) \
		YIELD(first); \
first: \
	exact_candidate(&l->head); \
	if (l->head.data && l->head.exact->count > EXACT_FEW) \
		YIELD(second); \
second: \
	{ \
		uint64_t k[words]; \
\
		key(l, k); \
		exact_end(&l->head, k, words); \
	} \
	found(m, &l->head, table, table)

#define LOOK_UP_LEARNED(label, number, table_count, selector_count, where) \
	l->head.key = (where); \
	l->head.time = rte_get_tsc_cycles(); \
label: \
	if (!rte_swx_table_learner_lookup(m->state[table_count + selector_count + number].obj, \
					  learner_mailbox(m, &l->head, number), l->head.time, &l->head.key, \
					  &l->head.action, &l->head.data, &l->head.entry, &l->head.hit)) \
		YIELD(label); \
	l->head.learner = number; \
	found(m, &l->head, table_count + selector_count + number, table_count + number)

/* The member that a selector chooses. */
#define SELECT(label, state_number, group, fields, member) \
label: \
	{ \
		uint8_t *group_at = (group), *fields_at = (fields), *member_at = (member); \
\
		if (!rte_swx_table_selector_select(m->state[state_number].obj, l->head.mailbox, &group_at, &fields_at, \
						   &member_at)) \
			YIELD(label); \
	}

/* ---- packets ---- */

static inline void start(struct lane_head *l, struct compiled_packet *p)
{
	l->packet = p;
	l->at = p->packet.pkt + p->packet.offset;
	l->length = p->packet.length;
	l->emitted_count = 0;
	l->valid = 0;
	l->learner = NO_LEARNER;
}

/* By way of a copy: they may lie anywhere in the packet. The engine takes no program that emits more than PACKET_HEADROOM. */
static __rte_noinline uint8_t *move_headers(uint8_t *to, const struct emitted *emitted, uint32_t count, uint32_t *length)
{
	uint8_t moved[PACKET_HEADROOM];
	uint32_t total = 0;

	for (uint32_t i = 0; i < count; i++) {
		memcpy(moved + total, emitted[i].bytes, emitted[i].length);
		total += emitted[i].length;
	}
	memcpy(to - total, moved, total);
	*length += total;
	return to - total;
}

/* Puts what was emitted in front of what was not extracted. What lies there already, as it mostly does, stays. */
static inline void assemble(struct lane_head *l, const struct emitted *emitted)
{
	struct rte_swx_pkt *packet = &l->packet->packet;
	uint8_t *to = l->at;
	uint32_t left = l->emitted_count;

	for (; left && emitted[left - 1].bytes + emitted[left - 1].length == to; left--)
		to -= emitted[left - 1].length;
	packet->length = l->length + (uint32_t)(l->at - to);
	if (left)
		to = move_headers(to, emitted, left, &packet->length);
	packet->offset = (uint32_t)(to - packet->pkt);
}

static inline void transmit(struct lane_head *l, const struct emitted *emitted, uint64_t port)
{
	assemble(l, emitted);
	l->packet->port = port < COMPILED_DROP ? (uint32_t)port : COMPILED_NO_PORT;
}

#endif
