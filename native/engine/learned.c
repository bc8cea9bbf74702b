/* SPDX-License-Identifier: Apache-2.0 */
#include "learned.h"

#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_swx_table_learner.h>

#include "program.h"

/*
 * What the library's memory looks like: a head, then buckets of four entries. A bucket begins with one cache line: four
 * times of expiry (the upper half of the cycle counter), four signatures, four timeout numbers. Then come four keys, then
 * four times the action's number and its data; each padded to a power of two, as is the bucket.
 */
#define BUCKET_ENTRIES 4u
#define BUCKET_HEAD 64u

struct shape {
	size_t key_stride;
	size_t data_stride;
	size_t bucket_bytes;
	size_t buckets;
	/* Of the first bucket. */
	size_t offset;
};

static size_t power_of_two(size_t n)
{
	size_t p = 1;

	while (p < n)
		p *= 2;
	return p;
}

static bool shape_of(const struct keyed *k, uint32_t size, struct shape *s)
{
	uint32_t timeout = 1;
	struct rte_swx_table_learner_params params = {
		.key_size = k->key_bytes,
		.key_mask0 = k->mask0,
		.action_data_size = k->data_bytes,
		.n_keys_max = size,
		.key_timeout = &timeout,
		.n_key_timeouts = 1,
	};
	uint64_t total = rte_swx_table_learner_footprint_get(&params);

	s->key_stride = power_of_two(k->key_bytes < 8 ? 8 : k->key_bytes);
	s->data_stride = power_of_two(sizeof(uint64_t) + k->data_bytes);
	s->bucket_bytes = power_of_two(BUCKET_HEAD + BUCKET_ENTRIES * (s->key_stride + s->data_stride));
	s->buckets = power_of_two(size);
	if (total <= s->buckets * s->bucket_bytes)
		return false;
	s->offset = total - s->buckets * s->bucket_bytes;
	return s->offset < 4096;
}

struct found {
	const uint8_t *key;
	uint64_t action;
	const uint8_t *data;
	uint64_t expires;
};

static bool entry_at(const void *object, const struct shape *s, size_t bucket, uint32_t at, uint64_t now,
		     struct found *found)
{
	const uint8_t *base = (const uint8_t *)object + s->offset + bucket * s->bucket_bytes;
	const uint8_t *keys = base + BUCKET_HEAD;
	const uint8_t *data = keys + BUCKET_ENTRIES * s->key_stride + at * s->data_stride;
	uint32_t time;

	memcpy(&time, base + at * sizeof(time), sizeof(time));
	found->expires = (uint64_t)time << 32;
	if (found->expires <= now)
		return false;
	found->key = keys + at * s->key_stride;
	memcpy(&found->action, data, sizeof(found->action));
	found->data = data + sizeof(found->action);
	return true;
}

/* Puts one key in through the library, and looks for it, and for nothing else, where it should be. */
static bool probe(void *object, const struct keyed *k, const struct shape *s)
{
	uint8_t *mailbox = calloc(1, rte_swx_table_learner_mailbox_size_get());
	/* The library reads keys and data in whole words. */
	uint8_t key[128] = { 0 }, *key_pointer = key, data[512] = { 0 }, *action_data;
	uint64_t now = rte_get_tsc_cycles(), action = 0x1122334455667788;
	size_t entry_id;
	uint32_t matches = 0, others = 0;
	int hit = 1;

	if (!mailbox)
		return false;
	for (uint32_t i = 0; i < k->key_bytes; i++)
		key[i] = (uint8_t)(0xa0 + i) & k->mask0[i];
	for (uint32_t i = 0; i < k->data_bytes; i++)
		data[i] = (uint8_t)(0x51 + i);
	for (int i = 0; i < 4; i++)
		if (rte_swx_table_learner_lookup(object, mailbox, now, &key_pointer, &action, &action_data, &entry_id, &hit))
			break;
	action = 0x1122334455667788;
	if (hit || rte_swx_table_learner_add(object, mailbox, now, action, data, 0)) {
		free(mailbox);
		return false;
	}
	free(mailbox);
	for (size_t bucket = 0; bucket < s->buckets; bucket++)
		for (uint32_t at = 0; at < BUCKET_ENTRIES; at++) {
			struct found found;

			if (!entry_at(object, s, bucket, at, now, &found))
				continue;
			if (!memcmp(found.key, key, k->key_bytes) && found.action == action &&
			    !memcmp(found.data, data, k->data_bytes) &&
			    found.expires > now + 90 * rte_get_tsc_hz() && found.expires < now + 110 * rte_get_tsc_hz())
				matches++;
			else
				others++;
		}
	return matches == 1 && !others;
}

bool learned_verify(const struct keyed *k)
{
	uint32_t timeout = 100;
	struct rte_swx_table_learner_params params = {
		.key_size = k->key_bytes,
		.key_mask0 = k->mask0,
		.action_data_size = k->data_bytes,
		.n_keys_max = 16,
		.key_timeout = &timeout,
		.n_key_timeouts = 1,
	};
	struct shape s;
	void *object;
	bool readable;

	if (k->key_bytes > 64 || k->data_bytes > 256 || !shape_of(k, params.n_keys_max, &s))
		return false;
	object = rte_swx_table_learner_create(&params, 0);
	if (!object)
		return false;
	readable = probe(object, k, &s);
	rte_swx_table_learner_free(object);
	return readable;
}

static void write_found(const struct program *p, const struct keyed *k, const struct found *found, uint64_t now,
			struct writer *w)
{
	const struct action *a = &p->actions[found->action];
	uint64_t left = found->expires - now, hz = rte_get_tsc_hz();

	for (uint32_t i = 0; i < k->field_count; i++) {
		uint8_t *to = write_space(w, k->fields[i].bytes);

		if (to)
			field_to_message(&k->fields[i], found->key, to);
	}
	write_u16(w, (uint16_t)found->action);
	for (uint32_t i = 0; i < a->field_count; i++) {
		uint8_t *to = write_space(w, a->fields[i].bytes);

		if (to)
			field_to_message(&a->fields[i], found->data, to);
	}
	write_u32(w, (uint32_t)RTE_MIN(left / hz * 1000 + left % hz * 1000 / hz, UINT64_C(0xffffffff)));
}

uint32_t learned_read(const struct program *p, uint32_t learner, uint32_t first, uint32_t buckets, struct writer *w,
		      uint32_t *count)
{
	const struct keyed *k = &p->learners[learner].keyed;
	const void *object = p->state[p->live][learner_state(p, learner)].obj;
	uint64_t now = rte_get_tsc_cycles();
	struct shape s;
	size_t end;

	*count = 0;
	if (!shape_of(k, k->size, &s))
		return UINT32_MAX;
	end = RTE_MIN((size_t)first + buckets, s.buckets);
	for (size_t bucket = first; bucket < end; bucket++)
		for (uint32_t at = 0; at < BUCKET_ENTRIES; at++) {
			struct found found;

			if (!entry_at(object, &s, bucket, at, now, &found) || found.action >= p->action_count)
				continue;
			write_found(p, k, &found, now, w);
			++*count;
		}
	return end < s.buckets ? (uint32_t)end : UINT32_MAX;
}
