/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading the entries that packets made. DPDK has no call for it: how they lie in memory is private to the library. What
 * is assumed here (22.11) is tried on a small table of the same shape when a program is loaded; where a key that was put in
 * through the library's own calls is not found where it is expected, the table is not readable, and says so.
 */
#ifndef LEARNED_H
#define LEARNED_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"

struct keyed;
struct program;

bool learned_verify(const struct keyed *k);

/*
 * Writes the live entries of `buckets` buckets from `first` on: fields, action, arguments, milliseconds left. Gives the
 * next bucket, or UINT32_MAX at the end. Packets must stand still.
 */
uint32_t learned_read(const struct program *p, uint32_t learner, uint32_t first, uint32_t buckets, struct writer *w,
		      uint32_t *count);

#endif
