/* SPDX-License-Identifier: Apache-2.0
 *
 * The entries of one table as the control plane knows them: found by key in constant time, and read back page by page.
 * DPDK's own control library walks a list for each change: 100,000 entries took it 15 seconds.
 */
#ifndef ENTRIES_H
#define ENTRIES_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_swx_table.h>

/* No cell. */
#define NOWHERE UINT32_MAX

struct entries {
	/* Bytes of a key, of its mask (0 in exact tables) and of an action's data. */
	uint32_t key_bytes, mask_bytes, data_bytes;
	uint32_t count;
	/* Cells: entries side by side, each `stride` bytes; a free one has `next` free in it. They never move. */
	uint8_t **chunks;
	uint32_t chunk_count;
	uint32_t cells;
	uint32_t free_cell;
	uint32_t stride;
	/* Open addressing; NOWHERE is empty. */
	uint32_t *buckets;
	uint32_t bucket_mask;
};

/* A cell's head; key, mask and data follow. */
struct cell {
	bool used;
	uint32_t hash;
	uint32_t next_free;
	/* The protocol's sense: larger wins. */
	uint32_t priority;
	uint64_t action;
	uint8_t bytes[];
};

int entries_init(struct entries *e, uint32_t key_bytes, uint32_t mask_bytes, uint32_t data_bytes);
void entries_free(struct entries *e);

uint32_t entries_find(const struct entries *e, const uint8_t *key, const uint8_t *mask, uint32_t priority);
/* The key must not be there. NOWHERE when there is no memory. */
uint32_t entries_add(struct entries *e, const uint8_t *key, const uint8_t *mask, uint32_t priority);
void entries_remove(struct entries *e, uint32_t cell);

struct cell *entries_cell(const struct entries *e, uint32_t cell);
uint8_t *cell_key(const struct entries *e, struct cell *c);
uint8_t *cell_mask(const struct entries *e, struct cell *c);
uint8_t *cell_data(const struct entries *e, struct cell *c);

#endif
