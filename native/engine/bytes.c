/* SPDX-License-Identifier: Apache-2.0 */
#include "bytes.h"

#include <stdlib.h>
#include <string.h>

const uint8_t *read_bytes(struct reader *r, size_t length)
{
	const uint8_t *at = r->at;

	if (r->bad || (size_t)(r->end - r->at) < length) {
		r->bad = true;
		return NULL;
	}
	r->at += length;
	return at;
}

static uint64_t read_number(struct reader *r, size_t bytes)
{
	const uint8_t *at = read_bytes(r, bytes);
	uint64_t value = 0;

	for (size_t i = 0; at && i < bytes; i++)
		value = value << 8 | at[i];
	return value;
}

uint8_t read_u8(struct reader *r)
{
	return (uint8_t)read_number(r, 1);
}

uint16_t read_u16(struct reader *r)
{
	return (uint16_t)read_number(r, 2);
}

uint32_t read_u32(struct reader *r)
{
	return (uint32_t)read_number(r, 4);
}

uint64_t read_u64(struct reader *r)
{
	return read_number(r, 8);
}

void read_name(struct reader *r, char *to, size_t size)
{
	size_t length = read_u8(r);
	const uint8_t *at = read_bytes(r, length);

	to[0] = 0;
	if (!at)
		return;
	if (length >= size || memchr(at, 0, length)) {
		r->bad = true;
		return;
	}
	memcpy(to, at, length);
	to[length] = 0;
}

bool read_done(const struct reader *r)
{
	return !r->bad && r->at == r->end;
}

uint8_t *write_space(struct writer *w, size_t length)
{
	if (w->bad)
		return NULL;
	if (w->room - w->length < length) {
		size_t room = w->room ? w->room : 256;
		uint8_t *data;

		while (room - w->length < length)
			room *= 2;
		data = realloc(w->data, room);
		if (!data) {
			w->bad = true;
			return NULL;
		}
		w->data = data;
		w->room = room;
	}
	w->length += length;
	return w->data + w->length - length;
}

static void put_number(uint8_t *at, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

static void write_number(struct writer *w, uint64_t value, size_t bytes)
{
	uint8_t *at = write_space(w, bytes);

	if (at)
		put_number(at, value, bytes);
}

void write_u8(struct writer *w, uint8_t value)
{
	write_number(w, value, 1);
}

void write_u16(struct writer *w, uint16_t value)
{
	write_number(w, value, 2);
}

void write_u32(struct writer *w, uint32_t value)
{
	write_number(w, value, 4);
}

void write_u64(struct writer *w, uint64_t value)
{
	write_number(w, value, 8);
}

void write_bytes(struct writer *w, const void *data, size_t length)
{
	uint8_t *at = write_space(w, length);

	if (at && length)
		memcpy(at, data, length);
}

void write_name(struct writer *w, const char *name)
{
	size_t length = strnlen(name, UINT8_MAX);

	write_u8(w, (uint8_t)length);
	write_bytes(w, name, length);
}

void patch_u16(struct writer *w, size_t at, uint16_t value)
{
	if (!w->bad)
		put_number(w->data + at, value, 2);
}

void patch_u32(struct writer *w, size_t at, uint32_t value)
{
	if (!w->bad)
		put_number(w->data + at, value, 4);
}

void writer_free(struct writer *w)
{
	free(w->data);
	*w = (struct writer){ 0 };
}
