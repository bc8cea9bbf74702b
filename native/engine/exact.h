/* SPDX-License-Identifier: Apache-2.0
 *
 * Exact tables of compiled programs. DPDK's own reads keys of any shape, byte masks and all, by way of three calls for a
 * look-up; here the code knows a key's shape (compiled_code.h), and a look-up in a table with few entries waits for nothing.
 * DPDK has it as one more type of table, so that it makes, fills and frees it like its own.
 *
 * A bucket is one cache line of seven hashes and the entries that they are of. An entry that finds its bucket full goes to
 * the next one that is not, and every bucket that it passed counts it: a search ends at a bucket that none passed.
 */
#ifndef EXACT_H
#define EXACT_H

#include <stdint.h>
#include <string.h>

#include <rte_common.h>
#include <rte_swx_table.h>

#define EXACT_SLOTS 7
/* 512 bytes: more than SWX has. */
#define EXACT_WORDS_MAX 64
/* With so few entries a table stays in the processor's first cache. */
#define EXACT_FEW 64

struct exact_bucket {
	uint32_t tag[EXACT_SLOTS];
	uint32_t passed;
	/* Its number from 1; 0: none. */
	uint32_t entry[EXACT_SLOTS];
	uint32_t unused;
} __rte_cache_aligned;

struct exact {
	struct exact_bucket *buckets;
	/* Each: the key in words, the number of the action, its data. */
	uint8_t *entries;
	uint32_t bucket_mask, count, stride, words;
	uint32_t key_offset, key_bytes, data_bytes, size;
	/* The last entry that was given back, as entries in a bucket; those from `used` on were never taken. */
	uint32_t free_entry, used;
	size_t bucket_bytes, entry_bytes;
};

/* As DPDK knows the type. */
#define EXACT_TYPE "ENGINE_exact"
extern struct rte_swx_table_ops exact_ops;

/* The entry with this key, or NULL. */
const uint8_t *exact_find(const struct exact *t, const uint64_t *key, uint32_t tag);

/* A word of a key: of its last one there may be less. */
static __rte_always_inline uint64_t exact_word(const uint8_t *p, uint32_t bytes)
{
	uint64_t word = 0;

	memcpy(&word, p, bytes);
	return word;
}

/* Sums of products do not wait for each other. Only the control plane makes entries: nobody can choose keys that collide. */
static __rte_always_inline uint32_t exact_tag(const uint64_t *key, uint32_t words)
{
	uint64_t h = 0, factor = UINT64_C(0x9e3779b97f4a7c15);

	for (uint32_t i = 0; i < words; i++, factor = factor * UINT64_C(0xd1342543de82ef95) + 2)
		h += (key[i] ^ key[i] >> 29) * factor;
	h ^= h >> 32;
	h *= UINT64_C(0xff51afd7ed558ccd);
	return (uint32_t)(h >> 32);
}

static __rte_always_inline uint64_t exact_differ(const uint64_t *key, const uint8_t *entry, uint32_t words)
{
	uint64_t differ = 0;

	for (uint32_t i = 0; i < words; i++)
		differ |= key[i] ^ exact_word(entry + 8 * i, 8);
	return differ;
}

#endif
