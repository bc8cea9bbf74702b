/* SPDX-License-Identifier: Apache-2.0 */
#include "exact.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#define LARGE_PAGE (2u << 20)

/* Zeros; pages are taken when they are used. */
static void *reserve(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	/* The processor knows few addresses of small pages. Nothing depends on it. */
	if (bytes >= 2 * LARGE_PAGE)
		madvise(p, bytes, MADV_HUGEPAGE);
	return p;
}

static uint8_t *entry_at(const struct exact *t, uint32_t number)
{
	return t->entries + (size_t)(number - 1) * t->stride;
}

static void read_key(const struct exact *t, const uint8_t *from, uint64_t *key)
{
	for (uint32_t i = 0; i < t->words; i++)
		key[i] = exact_word(from + 8 * i, RTE_MIN(8u, t->key_bytes - 8 * i));
}

/* Where the key is: its bucket and slot. */
static struct exact_bucket *find(const struct exact *t, const uint64_t *key, uint32_t tag, uint32_t *slot)
{
	for (uint32_t n = 0; n <= t->bucket_mask; n++) {
		struct exact_bucket *bucket = &t->buckets[(tag + n) & t->bucket_mask];

		for (*slot = 0; *slot < EXACT_SLOTS; ++*slot)
			if (bucket->entry[*slot] && bucket->tag[*slot] == tag &&
			    !exact_differ(key, entry_at(t, bucket->entry[*slot]), t->words))
				return bucket;
		if (!bucket->passed)
			return NULL;
	}
	return NULL;
}

const uint8_t *exact_find(const struct exact *t, const uint64_t *key, uint32_t tag)
{
	uint32_t slot;
	const struct exact_bucket *bucket = find(t, key, tag, &slot);

	return bucket ? entry_at(t, bucket->entry[slot]) : NULL;
}

static void set_action(const struct exact *t, uint8_t *entry, const struct rte_swx_table_entry *to)
{
	memcpy(entry + 8 * t->words, &to->action_id, 8);
	if (t->data_bytes && to->action_data)
		memcpy(entry + 8 * t->words + 8, to->action_data, t->data_bytes);
}

static uint32_t take_entry(struct exact *t)
{
	uint32_t number = t->free_entry;

	if (number)
		memcpy(&t->free_entry, entry_at(t, number), sizeof(t->free_entry));
	else
		number = ++t->used;
	return number;
}

static int add(void *table, struct rte_swx_table_entry *entry)
{
	struct exact *t = table;
	uint64_t key[EXACT_WORDS_MAX];
	struct exact_bucket *bucket;
	uint32_t tag, slot, number, b;

	read_key(t, entry->key, key);
	tag = exact_tag(key, t->words);
	bucket = find(t, key, tag, &slot);
	if (bucket) {
		set_action(t, entry_at(t, bucket->entry[slot]), entry);
		return 0;
	}
	if (t->count == t->size)
		return -ENOSPC;
	/* It ends: there are more slots than entries. */
	for (b = tag & t->bucket_mask;; b = (b + 1) & t->bucket_mask) {
		bucket = &t->buckets[b];
		for (slot = 0; slot < EXACT_SLOTS && bucket->entry[slot]; slot++)
			;
		if (slot < EXACT_SLOTS)
			break;
		bucket->passed++;
	}
	number = take_entry(t);
	memcpy(entry_at(t, number), key, 8 * t->words);
	set_action(t, entry_at(t, number), entry);
	bucket->tag[slot] = tag;
	bucket->entry[slot] = number;
	t->count++;
	return 0;
}

static int del(void *table, struct rte_swx_table_entry *entry)
{
	struct exact *t = table;
	uint64_t key[EXACT_WORDS_MAX];
	struct exact_bucket *bucket;
	uint32_t tag, slot, number;

	read_key(t, entry->key, key);
	tag = exact_tag(key, t->words);
	bucket = find(t, key, tag, &slot);
	if (!bucket)
		return 0;
	number = bucket->entry[slot];
	bucket->entry[slot] = 0;
	memcpy(entry_at(t, number), &t->free_entry, sizeof(t->free_entry));
	t->free_entry = number;
	t->count--;
	for (uint32_t b = tag & t->bucket_mask; &t->buckets[b] != bucket; b = (b + 1) & t->bucket_mask)
		t->buckets[b].passed--;
	return 0;
}

static void destroy(void *table)
{
	struct exact *t = table;

	if (!t)
		return;
	if (t->buckets)
		munmap(t->buckets, t->bucket_bytes);
	if (t->entries)
		munmap(t->entries, t->entry_bytes);
	free(t);
}

/* For tables whose fields do not lie side by side DPDK takes another type. */
static bool has_holes(const struct rte_swx_table_params *params)
{
	for (uint32_t i = 0; params->key_mask0 && i < params->key_size; i++)
		if (params->key_mask0[i] != 0xff)
			return true;
	return false;
}

static void *create(struct rte_swx_table_params *params, struct rte_swx_table_entry_list *entries, const char *args, int node)
{
	struct exact *t = calloc(1, sizeof(*t));
	uint32_t buckets, bytes;

	(void)args;
	(void)node;
	if (!t || !params->key_size || params->key_size > 8 * EXACT_WORDS_MAX || !params->n_keys_max ||
	    params->n_keys_max > 1u << 30 || has_holes(params)) {
		free(t);
		return NULL;
	}
	t->key_offset = params->key_offset;
	t->key_bytes = params->key_size;
	t->words = (params->key_size + 7) / 8;
	t->data_bytes = params->action_data_size;
	t->size = params->n_keys_max;
	/* An entry lies in as few cache lines as can be. */
	bytes = 8 * t->words + 8 + t->data_bytes;
	t->stride = bytes < RTE_CACHE_LINE_SIZE ? rte_align32pow2(bytes) : RTE_ALIGN_CEIL(bytes, RTE_CACHE_LINE_SIZE);
	buckets = rte_align32pow2((t->size + 3) / 4 + 1);
	t->bucket_mask = buckets - 1;
	t->bucket_bytes = buckets * sizeof(*t->buckets);
	t->entry_bytes = (size_t)t->size * t->stride;
	t->buckets = reserve(t->bucket_bytes);
	t->entries = reserve(t->entry_bytes);
	if (!t->buckets || !t->entries) {
		destroy(t);
		return NULL;
	}
	if (entries) {
		struct rte_swx_table_entry *entry;

		TAILQ_FOREACH(entry, entries, node)
			if (add(t, entry)) {
				destroy(t);
				return NULL;
			}
	}
	return t;
}

/* For DPDK's interpreter. Compiled programs have their own way (compiled_code.h). */
static int look_up(void *table, void *mailbox, uint8_t **key, uint64_t *action, uint8_t **data, size_t *entry_id, int *hit)
{
	const struct exact *t = table;
	uint64_t words[EXACT_WORDS_MAX];
	const uint8_t *entry;

	(void)mailbox;
	read_key(t, *key + t->key_offset, words);
	entry = exact_find(t, words, exact_tag(words, t->words));
	*hit = entry != NULL;
	if (entry) {
		memcpy(action, entry + 8 * t->words, 8);
		*data = t->entries + (entry - t->entries) + 8 * t->words + 8;
		*entry_id = (size_t)(entry - t->entries) / t->stride;
	}
	return 1;
}

/* Nothing is kept between calls, but DPDK asks, and allocates what it is told. */
static uint64_t mailbox_size(void)
{
	return sizeof(uint64_t);
}

struct rte_swx_table_ops exact_ops = {
	.mailbox_size_get = mailbox_size,
	.create = create,
	.add = add,
	.del = del,
	.lkp = look_up,
	.free = destroy,
};
