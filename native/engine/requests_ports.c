/* SPDX-License-Identifier: Apache-2.0 */
#include "requests_ports.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INJECT_MAX 4096u
#define BENCH_PACKETS_MAX 100000000u
#define SPIN_MAX_US 1000000u

static int malformed(struct failure *f)
{
	return fail(f, STATUS_INVALID, "the message is malformed");
}

/* ---- attach and detach ---- */

struct port_call {
	uint32_t slot;
	struct port *port;
	int status;
};

static void attach(struct dataplane *d, void *argument)
{
	struct port_call *c = argument;

	c->status = dataplane_attach(d, c->slot, c->port);
}

static void detach(struct dataplane *d, void *argument)
{
	struct port_call *c = argument;

	c->port = dataplane_detach(d, c->slot);
}

static void look(struct dataplane *d, void *argument)
{
	struct port_call *c = argument;

	c->port = slots_port(dataplane_slots(d), c->slot);
}

int request_attach(struct engine *e, struct reader *r, struct failure *f)
{
	struct port_request request = { 0 };
	struct port_call c = { .slot = read_u16(r) };
	const uint8_t *mac;

	request.kind = read_u8(r);
	request.flags = read_u8(r);
	request.mtu = read_u16(r);
	mac = read_bytes(r, sizeof(request.mac));
	if (mac)
		memcpy(request.mac, mac, sizeof(request.mac));
	read_name(r, request.name, sizeof(request.name));
	read_name(r, request.netns, sizeof(request.netns));
	if (request.flags & ATTACH_VLAN)
		request.vlan = read_u16(r);
	if (!read_done(r) || request.flags & ~(ATTACH_PERSIST | ATTACH_UP | ATTACH_VLAN) ||
	    (request.flags & ATTACH_VLAN && !request.vlan))
		return malformed(f);
	if (c.slot >= slots_count(e->slots))
		return fail(f, STATUS_INVALID, "the engine has ports 0 to %u", slots_count(e->slots) - 1);
	dataplane_call(e->dataplane, look, &c);
	if (c.port)
		return fail(f, STATUS_EXISTS, "port %u is attached already", c.slot);
	c.port = port_open(&request, f);
	if (!c.port)
		return -1;
	dataplane_call(e->dataplane, attach, &c);
	if (!c.status)
		return 0;
	port_close(c.port, false);
	return fail(f, STATUS_SYSTEM, "port %u: %s", c.slot, strerror(-c.status));
}

int request_detach(struct engine *e, struct reader *r, struct failure *f)
{
	struct port_call c = { .slot = read_u16(r) };
	uint8_t flags = read_u8(r);

	if (!read_done(r) || c.slot >= slots_count(e->slots) || flags & ~DETACH_REMOVE)
		return malformed(f);
	dataplane_call(e->dataplane, detach, &c);
	if (!c.port)
		return fail(f, STATUS_NOT_FOUND, "port %u is not attached", c.slot);
	port_close(c.port, flags & DETACH_REMOVE);
	return 0;
}

/* ---- reading ---- */

static void write_ports(struct dataplane *d, void *argument)
{
	struct slots *s = dataplane_slots(d);
	struct writer *w = argument;
	size_t head = w->length;
	uint16_t count = 0;

	write_u16(w, 0);
	for (uint32_t slot = 0; slot < slots_count(s); slot++) {
		struct port *port = slots_port(s, slot);

		if (!port)
			continue;
		if (port->ops->is_deleted && port->ops->is_deleted(port))
			dataplane_lose(d, slot);
		write_u16(w, (uint16_t)slot);
		write_u8(w, (uint8_t)port->request.kind);
		write_u8(w, port->request.flags);
		write_u16(w, port->request.mtu);
		write_bytes(w, port->request.mac, sizeof(port->request.mac));
		write_name(w, port->request.name);
		write_name(w, port->request.netns);
		if (port->request.flags & ATTACH_VLAN)
			write_u16(w, port->request.vlan);
		write_u8(w, port->gone);
		write_u64(w, port->counters.rx_packets);
		write_u64(w, port->counters.rx_bytes);
		write_u64(w, port->counters.rx_dropped);
		write_u64(w, port->counters.tx_packets);
		write_u64(w, port->counters.tx_bytes);
		write_u64(w, port->counters.tx_dropped);
		count++;
	}
	patch_u16(w, head, count);
}

int request_ports(struct engine *e, struct reader *r, struct writer *w, struct failure *f)
{
	if (!read_done(r))
		return malformed(f);
	dataplane_call(e->dataplane, write_ports, w);
	return 0;
}

static void write_engine_stats(struct dataplane *d, void *argument)
{
	const struct dataplane_counters *c = dataplane_counters(d);
	const struct slots_counters *s = slots_counters(dataplane_slots(d));
	struct writer *w = argument;

	write_u64(w, c->packets);
	write_u64(w, c->batches);
	write_u64(w, c->sleeps);
	write_u64(w, s->no_port);
	write_u64(w, s->malformed);
	write_u64(w, dataplane_program(d) && dataplane_program(d)->machine);
}

int request_engine_stats(struct engine *e, struct reader *r, struct writer *w, struct failure *f)
{
	if (!read_done(r))
		return malformed(f);
	dataplane_call(e->dataplane, write_engine_stats, w);
	return 0;
}

/* ---- how it waits for packets ---- */

struct idle_call {
	bool change;
	enum idle_mode mode;
	uint32_t spin_us;
};

static void idle(struct dataplane *d, void *argument)
{
	struct idle_call *c = argument;

	if (c->change)
		dataplane_set_idle(d, c->mode, c->spin_us);
	dataplane_get_idle(d, &c->mode, &c->spin_us);
}

int request_idle(struct engine *e, struct reader *r, struct writer *w, struct failure *f)
{
	struct idle_call c = { .change = read_u8(r) };

	c.mode = read_u8(r);
	c.spin_us = read_u32(r);
	if (!read_done(r) || c.mode > IDLE_SPIN || c.spin_us > SPIN_MAX_US)
		return malformed(f);
	dataplane_call(e->dataplane, idle, &c);
	write_u8(w, (uint8_t)c.mode);
	write_u32(w, c.spin_us);
	return 0;
}

/* ---- packets by message ---- */

struct packet {
	uint32_t slot;
	uint32_t length;
	const uint8_t *frame;
};

struct packets_call {
	struct packet *packets;
	uint32_t count;
	struct writer *w;
	uint64_t total;
	uint64_t nanoseconds;
};

static int read_packets(struct engine *e, struct reader *r, struct packets_call *c, struct failure *f)
{
	c->count = read_u16(r);
	if (r->bad || c->count > INJECT_MAX)
		return fail(f, STATUS_INVALID, "at most %u packets in a message", INJECT_MAX);
	c->packets = calloc(c->count + 1, sizeof(*c->packets));
	if (!c->packets)
		return fail(f, STATUS_SYSTEM, "no memory for packets");
	for (uint32_t i = 0; i < c->count; i++) {
		struct packet *p = &c->packets[i];

		p->slot = read_u16(r);
		p->length = read_u16(r);
		p->frame = read_bytes(r, p->length);
		if (r->bad || p->slot >= slots_count(e->slots) || p->length > WIRE_MAX)
			return malformed(f);
	}
	if (!read_done(r))
		return malformed(f);
	if (!e->running)
		return fail(f, STATUS_NO_PROGRAM, "no program is running");
	return 0;
}

/* One at a time: the next one must see what this one made the program learn. */
static void inject(struct dataplane *d, void *argument)
{
	struct packets_call *c = argument;
	struct slots *s = dataplane_slots(d);

	for (uint32_t i = 0; i < c->count; i++) {
		size_t head = c->w->length;

		write_u16(c->w, 0);
		slots_capture(s, c->w);
		slots_put(s, c->packets[i].slot, c->packets[i].frame, c->packets[i].length);
		slots_run(s, dataplane_program(d));
		patch_u16(c->w, head, (uint16_t)slots_captured(s));
		slots_capture(s, NULL);
	}
}

/* A batch that a call finds half filled is run first. */
static void finish_batch(struct dataplane *d)
{
	slots_run(dataplane_slots(d), dataplane_program(d));
}

static void inject_alone(struct dataplane *d, void *argument)
{
	finish_batch(d);
	inject(d, argument);
}

int request_inject(struct engine *e, struct reader *r, struct writer *w, struct failure *f)
{
	struct packets_call c = { .w = w };
	int status = read_packets(e, r, &c, f);

	if (!status) {
		write_u16(w, (uint16_t)c.count);
		dataplane_call(e->dataplane, inject_alone, &c);
	}
	free(c.packets);
	return status;
}

static void bench(struct dataplane *d, void *argument)
{
	struct packets_call *c = argument;
	struct slots *s = dataplane_slots(d);
	struct timespec from, to;
	uint64_t sent = 0;
	uint32_t at = 0;

	finish_batch(d);
	slots_discard(s, true);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
	while (sent < c->total) {
		for (uint32_t i = 0; i < BATCH && sent < c->total; i++, sent++) {
			slots_put(s, c->packets[at].slot, c->packets[at].frame, c->packets[at].length);
			at = at + 1 < c->count ? at + 1 : 0;
		}
		slots_run(s, dataplane_program(d));
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
	slots_discard(s, false);
	c->nanoseconds = (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000 + (uint64_t)to.tv_nsec - (uint64_t)from.tv_nsec;
}

int request_bench(struct engine *e, struct reader *r, struct writer *w, struct failure *f)
{
	struct packets_call c = { .total = read_u32(r) };
	int status = read_packets(e, r, &c, f);

	if (!status && (!c.count || c.total > BENCH_PACKETS_MAX))
		status = malformed(f);
	if (!status) {
		dataplane_call(e->dataplane, bench, &c);
		write_u64(w, c.nanoseconds);
	}
	free(c.packets);
	return status;
}
