/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes of tables, all or nothing, and at one moment for packets. Each table is there twice. The changes go into the copy
 * that no packet uses; the data thread exchanges the copies between two batches; then the changes go into the other copy.
 * Tables that are no exact ones can not be changed in place: they are built anew, once a transaction.
 */
#ifndef TRANSACTION_H
#define TRANSACTION_H

#include "bytes.h"
#include "dataplane.h"
#include "failure.h"
#include "program.h"

/* Reads `count` changes and applies them. `d` is NULL for a program that no packet uses. */
int transaction_run(struct program *p, struct dataplane *d, struct reader *r, uint32_t count, struct failure *f);

/* Writes up to a page of entries from cell `*cursor` on, and moves it; NOWHERE at the end. */
void transaction_read(const struct program *p, uint32_t table, uint32_t *cursor, struct writer *w, uint32_t *count);

void transaction_read_default(const struct program *p, uint32_t state, struct writer *w);

#endif
