/* SPDX-License-Identifier: Apache-2.0
 *
 * A .spec as it comes from p4c, and as DPDK gets it. Two things are done to the text:
 *
 * It is held against what DPDK 22.11 does not check and what would read or write outside a packet's buffer: loops, headers
 * that together exceed the buffer, structs whose offsets do not fit in a byte, instructions that overflow DPDK's line.
 *
 * It is rewritten so that one input port serves all slots, and so that no packet leaves through a port that is not there:
 *
 *	rx m.P			rx m.P
 *				extract h.ENGINE_SLOT		the four bytes that the engine puts in front
 *				mov m.P h.ENGINE_SLOT.port
 *	tx m.P			jmplt ENGINE_TX_1 m.P <slots>
 *				tx <slots>			an output port that counts and drops
 *				ENGINE_TX_1 : tx m.P
 *
 * And around a fault of DPDK 22.11: regadd and regwr with two constants always change the first register array.
 *
 *	regadd A 0x0 0x1	mov m.ENGINE_value 0x1
 *				regadd A 0x0 m.ENGINE_value
 *
 * For a program that runs as machine code (compiled.h), all tables that are exact get the engine's own type:
 *
 *	table T {		table T {
 *					instanceof ENGINE_exact
 *
 * The programs themselves know nothing of it.
 */
#ifndef SPEC_H
#define SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "failure.h"

/* Room in front of a packet for headers that a program adds, and zeros behind it for headers that a short one lacks. */
#define PACKET_HEADROOM 1024
#define PACKET_TAILROOM 1024

struct spec_text {
	char *text;
	size_t length;
	/* The line of the original for each line of `text`, both from 1. */
	uint32_t *origin;
	uint32_t lines;
	/* How many bytes from the packet's start a program may read, at most. */
	uint32_t reach;
};

/* Checks and rewrites. The result is the caller's to free with spec_text_free. */
int spec_prepare(const char *text, size_t length, uint32_t slots, bool own_tables, struct spec_text *out,
		 struct failure *f);
void spec_text_free(struct spec_text *t);

#endif
