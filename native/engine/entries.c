/* SPDX-License-Identifier: Apache-2.0 */
#include "entries.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_CELLS 4096u
#define BUCKETS_MIN 64u

int entries_init(struct entries *e, uint32_t key_bytes, uint32_t mask_bytes, uint32_t data_bytes)
{
	size_t stride = sizeof(struct cell) + key_bytes + mask_bytes + data_bytes;

	*e = (struct entries){
		.key_bytes = key_bytes,
		.mask_bytes = mask_bytes,
		.data_bytes = data_bytes,
		.free_cell = NOWHERE,
		.stride = (uint32_t)((stride + 7) & ~(size_t)7),
		.bucket_mask = BUCKETS_MIN - 1,
	};
	e->buckets = malloc(BUCKETS_MIN * sizeof(*e->buckets));
	if (!e->buckets)
		return -1;
	memset(e->buckets, 0xff, BUCKETS_MIN * sizeof(*e->buckets));
	return 0;
}

void entries_free(struct entries *e)
{
	for (uint32_t i = 0; i < e->chunk_count; i++)
		free(e->chunks[i]);
	free(e->chunks);
	free(e->buckets);
	*e = (struct entries){ 0 };
}

struct cell *entries_cell(const struct entries *e, uint32_t cell)
{
	return (struct cell *)(e->chunks[cell / CHUNK_CELLS] + (size_t)(cell % CHUNK_CELLS) * e->stride);
}

uint8_t *cell_key(const struct entries *e, struct cell *c)
{
	(void)e;
	return c->bytes;
}

uint8_t *cell_mask(const struct entries *e, struct cell *c)
{
	return c->bytes + e->key_bytes;
}

uint8_t *cell_data(const struct entries *e, struct cell *c)
{
	return c->bytes + e->key_bytes + e->mask_bytes;
}

/* Eight bytes at a time, each mixed in by a multiplication whose high half comes back down. */
static uint32_t hash_bytes(uint64_t h, const uint8_t *data, uint32_t length)
{
	for (uint32_t i = 0; i < length; i += 8) {
		uint64_t part = 0;

		memcpy(&part, data + i, length - i < 8 ? length - i : 8);
		h = (h ^ part) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 32;
	}
	return (uint32_t)h;
}

static uint32_t hash_of(const struct entries *e, const uint8_t *key, const uint8_t *mask, uint32_t priority)
{
	uint32_t h = hash_bytes(priority + 1, key, e->key_bytes);

	return e->mask_bytes ? hash_bytes(h, mask, e->mask_bytes) : h;
}

static bool same(const struct entries *e, struct cell *c, const uint8_t *key, const uint8_t *mask, uint32_t priority)
{
	return c->priority == priority && !memcmp(cell_key(e, c), key, e->key_bytes) &&
	       (!e->mask_bytes || !memcmp(cell_mask(e, c), mask, e->mask_bytes));
}

uint32_t entries_find(const struct entries *e, const uint8_t *key, const uint8_t *mask, uint32_t priority)
{
	uint32_t hash = hash_of(e, key, mask, priority);

	for (uint32_t b = hash & e->bucket_mask; e->buckets[b] != NOWHERE; b = (b + 1) & e->bucket_mask) {
		struct cell *c = entries_cell(e, e->buckets[b]);

		if (c->hash == hash && same(e, c, key, mask, priority))
			return e->buckets[b];
	}
	return NOWHERE;
}

static void put_in_bucket(uint32_t *buckets, uint32_t bucket_mask, uint32_t hash, uint32_t cell)
{
	uint32_t b = hash & bucket_mask;

	while (buckets[b] != NOWHERE)
		b = (b + 1) & bucket_mask;
	buckets[b] = cell;
}

/* At most half of the buckets are taken. */
static int grow_buckets(struct entries *e)
{
	uint32_t size = 2 * (e->bucket_mask + 1);
	uint32_t *buckets = malloc(size * sizeof(*buckets));

	if (!buckets)
		return -1;
	memset(buckets, 0xff, size * sizeof(*buckets));
	for (uint32_t b = 0; b <= e->bucket_mask; b++)
		if (e->buckets[b] != NOWHERE)
			put_in_bucket(buckets, size - 1, entries_cell(e, e->buckets[b])->hash, e->buckets[b]);
	free(e->buckets);
	e->buckets = buckets;
	e->bucket_mask = size - 1;
	return 0;
}

static int grow_cells(struct entries *e)
{
	uint8_t **chunks = realloc(e->chunks, (e->chunk_count + 1) * sizeof(*chunks));
	uint8_t *chunk;

	if (!chunks)
		return -1;
	e->chunks = chunks;
	chunk = calloc(CHUNK_CELLS, e->stride);
	if (!chunk)
		return -1;
	e->chunks[e->chunk_count++] = chunk;
	for (uint32_t i = CHUNK_CELLS; i-- > 0;) {
		uint32_t cell = e->cells + i;

		entries_cell(e, cell)->next_free = e->free_cell;
		e->free_cell = cell;
	}
	e->cells += CHUNK_CELLS;
	return 0;
}

uint32_t entries_add(struct entries *e, const uint8_t *key, const uint8_t *mask, uint32_t priority)
{
	struct cell *c;
	uint32_t cell;

	if (2 * (e->count + 1) > e->bucket_mask + 1 && grow_buckets(e))
		return NOWHERE;
	if (e->free_cell == NOWHERE && grow_cells(e))
		return NOWHERE;
	cell = e->free_cell;
	c = entries_cell(e, cell);
	e->free_cell = c->next_free;
	c->used = true;
	c->priority = priority;
	c->hash = hash_of(e, key, mask, priority);
	memcpy(cell_key(e, c), key, e->key_bytes);
	if (e->mask_bytes)
		memcpy(cell_mask(e, c), mask, e->mask_bytes);
	put_in_bucket(e->buckets, e->bucket_mask, c->hash, cell);
	e->count++;
	return cell;
}

/* What follows in the same run of taken buckets moves up, so that no search stops at the gap. */
static void close_gap(struct entries *e, uint32_t gap)
{
	for (uint32_t b = (gap + 1) & e->bucket_mask; e->buckets[b] != NOWHERE; b = (b + 1) & e->bucket_mask) {
		uint32_t home = entries_cell(e, e->buckets[b])->hash & e->bucket_mask;

		if (((b - home) & e->bucket_mask) < ((b - gap) & e->bucket_mask))
			continue;
		e->buckets[gap] = e->buckets[b];
		gap = b;
	}
	e->buckets[gap] = NOWHERE;
}

void entries_remove(struct entries *e, uint32_t cell)
{
	struct cell *c = entries_cell(e, cell);
	uint32_t b = c->hash & e->bucket_mask;

	while (e->buckets[b] != cell)
		b = (b + 1) & e->bucket_mask;
	close_gap(e, b);
	c->used = false;
	c->next_free = e->free_cell;
	e->free_cell = cell;
	e->count--;
}
