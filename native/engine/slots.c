/* SPDX-License-Identifier: Apache-2.0 */
#include "slots.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>

#include "compiled.h"
#include "program.h"
#include "spec.h"

/* The slot's number in front of a packet. */
#define PREFIX 4u
#define FRONT (PACKET_HEADROOM + 64u)
#define BUFFERS 127u
#define SHORTEST 14u
/* Instructions between two looks at whether the batch is done. */
#define RUN 256u
/* No program takes that many instructions for a batch: they have no loops. */
#define RUNS_MAX (64u << 20)

struct outlet {
	struct slots *slots;
	uint32_t slot;
};

struct slots {
	uint32_t count;
	uint32_t reach;
	struct port **ports;
	struct outlet *outlets;
	struct rte_mempool *pool;
	/* A buffer that was taken and found no packet to read. */
	struct rte_mbuf *spare;
	struct rte_mbuf *batch[BATCH];
	uint32_t next, filled;
	/* The pipeline gets the packets before this one; behind it wait those that must see what these have left. */
	uint32_t fence;
	struct slots_counters counters;
	struct writer *capture;
	uint32_t captured;
	bool discard;
};

/* ---- the pipeline's side ---- */

static void *in_create(void *arguments)
{
	return arguments;
}

static void in_free(void *port)
{
	(void)port;
}

static int in_receive(void *port, struct rte_swx_pkt *packet)
{
	struct slots *s = port;
	struct rte_mbuf *m;

	if (s->next == s->fence)
		return 0;
	m = s->batch[s->next++];
	packet->handle = m;
	packet->pkt = m->buf_addr;
	packet->offset = m->data_off - PREFIX;
	packet->length = m->data_len + PREFIX;
	return 1;
}

static void in_stats(void *port, struct rte_swx_port_in_stats *stats)
{
	(void)port;
	*stats = (struct rte_swx_port_in_stats){ 0 };
}

static void capture(struct slots *s, uint32_t slot, const uint8_t *data, uint32_t length)
{
	write_u32(s->capture, slot);
	write_u16(s->capture, (uint16_t)length);
	write_bytes(s->capture, data, length);
	s->captured++;
}

static void send_out(struct slots *s, uint32_t slot, const struct rte_swx_pkt *packet)
{
	const struct rte_mbuf *m = packet->handle;
	const uint8_t *data = packet->pkt + packet->offset;
	uint32_t length = packet->length;
	struct port *port = slot < s->count ? s->ports[slot] : NULL;

	if (slot >= s->count || (!s->capture && !s->discard && (!port || port->gone))) {
		s->counters.no_port++;
		return;
	}
	if (!length || length > WIRE_MAX || packet->offset + length > m->buf_len) {
		s->counters.malformed++;
		return;
	}
	/* A capture gives back what came, however short: so does the interpreter. */
	if (s->capture) {
		capture(s, slot, data, length);
		return;
	}
	if (s->discard)
		return;
	if (length < SHORTEST) {
		s->counters.malformed++;
		return;
	}
	if (port->ops->transmit(port, data, length)) {
		port->counters.tx_packets++;
		port->counters.tx_bytes += length;
	} else {
		port->counters.tx_dropped++;
	}
}

static void out_transmit(void *port, struct rte_swx_pkt *packet)
{
	struct outlet *o = port;

	send_out(o->slots, o->slot, packet);
	rte_pktmbuf_free(packet->handle);
}

/* Frames are copied by the kernel when they are sent: a clone needs no copy of ours. */
static void out_fast_clone(void *port, struct rte_swx_pkt *packet)
{
	struct outlet *o = port;

	send_out(o->slots, o->slot, packet);
}

static void out_clone(void *port, struct rte_swx_pkt *packet, uint32_t most)
{
	struct outlet *o = port;
	struct rte_swx_pkt cut = *packet;

	if (most && cut.length > most)
		cut.length = most;
	send_out(o->slots, o->slot, &cut);
}

static void *out_create(void *arguments)
{
	return arguments;
}

static void out_free(void *port)
{
	(void)port;
}

static void out_stats(void *port, struct rte_swx_port_out_stats *stats)
{
	(void)port;
	*stats = (struct rte_swx_port_out_stats){ 0 };
}

int slots_give(struct slots *s, struct rte_swx_pipeline *pipeline, struct failure *f)
{
	struct rte_swx_port_in_ops in = { in_create, in_free, in_receive, in_stats };
	struct rte_swx_port_out_ops out = {
		.create = out_create,
		.free = out_free,
		.pkt_tx = out_transmit,
		.pkt_fast_clone_tx = out_fast_clone,
		.pkt_clone_tx = out_clone,
		.stats_read = out_stats,
	};
	int status = rte_swx_pipeline_port_in_type_register(pipeline, "slots", &in);

	if (!status)
		status = rte_swx_pipeline_port_out_type_register(pipeline, "slots", &out);
	if (!status)
		status = rte_swx_pipeline_port_in_config(pipeline, 0, "slots", s);
	for (uint32_t i = 0; !status && i <= s->count; i++)
		status = rte_swx_pipeline_port_out_config(pipeline, i, "slots", &s->outlets[i]);
	if (status)
		return fail(f, STATUS_SYSTEM, "the pipeline's ports can not be made: %s", strerror(-status));
	return 0;
}

/* ---- the engine's side ---- */

struct slots *slots_create(uint32_t count, struct failure *f)
{
	struct slots *s = calloc(1, sizeof(*s));

	if (s) {
		s->ports = calloc(count, sizeof(struct port *));
		s->outlets = calloc(count + 1, sizeof(*s->outlets));
	}
	if (!s || !s->ports || !s->outlets) {
		fail(f, STATUS_SYSTEM, "no memory for %u slots", count);
		return NULL;
	}
	s->count = count;
	for (uint32_t i = 0; i <= count; i++)
		s->outlets[i] = (struct outlet){ s, i };
	/* One thread takes and gives back, and no cache hides how many are in use (slots_run). */
	s->pool = rte_pktmbuf_pool_create_by_ops("frames", BUFFERS, 0, 0, FRONT + WIRE_MAX + PACKET_TAILROOM,
						 SOCKET_ID_ANY, "ring_sp_sc");
	if (!s->pool) {
		fail(f, STATUS_SYSTEM, "no memory for packets; start the engine with more (--memory)");
		return NULL;
	}
	return s;
}

uint32_t slots_count(const struct slots *s)
{
	return s->count;
}

struct port *slots_port(const struct slots *s, uint32_t slot)
{
	return s->ports[slot];
}

void slots_set_port(struct slots *s, uint32_t slot, struct port *port)
{
	s->ports[slot] = port;
}

const struct slots_counters *slots_counters(const struct slots *s)
{
	return &s->counters;
}

void slots_set_reach(struct slots *s, uint32_t reach)
{
	s->reach = reach;
}

static struct rte_mbuf *take_buffer(struct slots *s)
{
	struct rte_mbuf *m = s->spare ? s->spare : rte_pktmbuf_alloc(s->pool);

	s->spare = NULL;
	if (m)
		m->data_off = FRONT;
	return m;
}

static void add(struct slots *s, uint32_t slot, struct rte_mbuf *m, uint32_t length)
{
	uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);
	uint32_t number = rte_cpu_to_be_32(slot);

	memcpy(data - PREFIX, &number, PREFIX);
	if (length < s->reach)
		memset(data + length, 0, s->reach - length);
	m->data_len = (uint16_t)length;
	m->pkt_len = length;
	s->batch[s->filled++] = m;
}

bool slots_receive(struct slots *s, uint32_t slot, uint32_t most)
{
	struct port *port = s->ports[slot];

	for (uint32_t i = 0; i < most && s->filled < BATCH; i++) {
		struct rte_mbuf *m = take_buffer(s);
		int length;

		if (!m)
			return true;
		length = port->ops->receive(port, rte_pktmbuf_mtod(m, uint8_t *));
		if (length <= 0) {
			s->spare = m;
			return length == 0;
		}
		port->counters.rx_packets++;
		port->counters.rx_bytes += (uint64_t)length;
		add(s, slot, m, (uint32_t)length);
	}
	return true;
}

bool slots_put(struct slots *s, uint32_t slot, const uint8_t *frame, uint32_t length)
{
	struct rte_mbuf *m = s->filled < BATCH ? take_buffer(s) : NULL;

	if (!m)
		return false;
	memcpy(rte_pktmbuf_mtod(m, uint8_t *), frame, length);
	add(s, slot, m, length);
	return true;
}

uint32_t slots_waiting(const struct slots *s)
{
	return s->filled;
}

/* Packets that are dropped are given back to the pool by DPDK itself: only the pool knows when all are gone. */
static bool all_gone(const struct slots *s)
{
	uint32_t kept = s->filled - s->fence + (s->spare ? 1 : 0);

	return s->next == s->fence && rte_mempool_avail_count(s->pool) + kept == BUFFERS;
}

/*
 * DPDK runs up to 16 packets of a batch side by side, an instruction of each in turn. Fragments of one packet come together,
 * and what a program learns from the first one must be there when the others ask for it.
 */
static bool is_later_fragment(const struct rte_mbuf *m)
{
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);

	if (m->data_len >= 34 && frame[12] == 0x08 && frame[13] == 0x00)
		return ((frame[20] & 0x1f) | frame[21]) != 0;
	if (m->data_len >= 62 && frame[12] == 0x86 && frame[13] == 0xdd && frame[20] == 44)
		return (frame[56] | (frame[57] & 0xf8)) != 0;
	return false;
}

/* Up to the next fragment that waits for what is before it. */
static void move_fence(struct slots *s)
{
	s->fence = s->next + 1;
	while (s->fence < s->filled && !is_later_fragment(s->batch[s->fence]))
		s->fence++;
}

/* Machine code: everything goes out in the order in which it came. */
static void run_compiled(struct slots *s, struct machine *machine)
{
	struct compiled_packet packets[BATCH];
	uint32_t count = 0;

	for (; s->next < s->fence; s->next++) {
		struct rte_mbuf *m = s->batch[s->next];
		uint32_t slot;

		memcpy(&slot, rte_pktmbuf_mtod(m, uint8_t *) - PREFIX, PREFIX);
		packets[count++] = (struct compiled_packet){
			.packet = { .handle = m, .pkt = m->buf_addr, .offset = m->data_off, .length = m->data_len },
			.port = rte_be_to_cpu_32(slot),
		};
	}
	machine->code->run(machine, packets, count);
	for (uint32_t i = 0; i < count; i++) {
		if (packets[i].port != COMPILED_DROP)
			send_out(s, packets[i].port, &packets[i].packet);
		rte_pktmbuf_free(packets[i].packet.handle);
	}
}

static void run_interpreted(struct slots *s, struct rte_swx_pipeline *pipeline, uint32_t *runs)
{
	while (!all_gone(s)) {
		rte_swx_pipeline_run(pipeline, RUN);
		if (++*runs == RUNS_MAX) {
			fprintf(stderr, "engine: the program does not come to the end of a packet\n");
			abort();
		}
	}
}

void slots_run(struct slots *s, struct program *program)
{
	uint32_t runs = 0;

	if (!program) {
		while (s->next < s->filled)
			rte_pktmbuf_free(s->batch[s->next++]);
	} else if (program->machine) {
		program->machine->state = program->state[program->live];
	}
	while (s->next < s->filled) {
		move_fence(s);
		if (program->machine)
			run_compiled(s, program->machine);
		else
			run_interpreted(s, program->pipeline, &runs);
	}
	s->next = 0;
	s->filled = 0;
	s->fence = 0;
}

void slots_capture(struct slots *s, struct writer *to)
{
	s->capture = to;
	s->captured = 0;
}

uint32_t slots_captured(const struct slots *s)
{
	return s->captured;
}

void slots_discard(struct slots *s, bool discard)
{
	s->discard = discard;
}
