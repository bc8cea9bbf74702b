/* SPDX-License-Identifier: Apache-2.0
 *
 * Bounded reading and writing of the protocol's messages: big-endian numbers, strings with their length in front.
 * A reader that was asked for more than there is, and a writer that ran out of memory, stay `bad`: callers check once, at
 * the end.
 */
#ifndef BYTES_H
#define BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
	const uint8_t *at;
	const uint8_t *end;
	bool bad;
};

uint8_t read_u8(struct reader *r);
uint16_t read_u16(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_u64(struct reader *r);
/* `length` bytes of the message itself, or NULL (and `bad`). */
const uint8_t *read_bytes(struct reader *r, size_t length);
/* A string with a length of one byte, copied with its terminator; refuses NULs and what does not fit in `size`. */
void read_name(struct reader *r, char *to, size_t size);
/* True when the message was read to its end, and never beyond. */
bool read_done(const struct reader *r);

struct writer {
	uint8_t *data;
	size_t length;
	size_t room;
	bool bad;
};

void write_u8(struct writer *w, uint8_t value);
void write_u16(struct writer *w, uint16_t value);
void write_u32(struct writer *w, uint32_t value);
void write_u64(struct writer *w, uint64_t value);
void write_bytes(struct writer *w, const void *data, size_t length);
void write_name(struct writer *w, const char *name);
/* Space for `length` bytes that the caller fills at once, or NULL (and `bad`). */
uint8_t *write_space(struct writer *w, size_t length);
/* Overwrites a number that was written before. */
void patch_u16(struct writer *w, size_t at, uint16_t value);
void patch_u32(struct writer *w, size_t at, uint32_t value);
void writer_free(struct writer *w);

#endif
