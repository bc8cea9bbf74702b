/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 64
/* Frames taken of one port before the next one has its turn. */
#define TURN 32
/* Devices without a descriptor are looked at that often while idle. */
#define POLL_MS 1
#define WAKE UINT32_MAX

struct dataplane {
	struct slots *slots;
	struct program *program;
	pthread_t thread;
	int epoll, wake;
	enum idle_mode idle;
	uint32_t spin_us;
	/* Slots whose ports have no descriptor. */
	uint32_t *polled;
	uint32_t polled_count;
	struct dataplane_counters counters;
	/* A call under way; the control thread waits for `finished`. */
	atomic_bool called;
	void (*work)(struct dataplane *d, void *argument);
	void *argument;
	bool finished;
	pthread_mutex_t mutex;
	pthread_cond_t condition;
};

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- the control thread's side ---- */

void dataplane_call(struct dataplane *d, void (*work)(struct dataplane *d, void *argument), void *argument)
{
	uint64_t one = 1;

	d->work = work;
	d->argument = argument;
	d->finished = false;
	atomic_store_explicit(&d->called, true, memory_order_release);
	if (write(d->wake, &one, sizeof(one)) < 0 && errno != EAGAIN)
		abort();
	pthread_mutex_lock(&d->mutex);
	while (!d->finished)
		pthread_cond_wait(&d->condition, &d->mutex);
	pthread_mutex_unlock(&d->mutex);
}

/* ---- the data thread's side ---- */

static void answer_call(struct dataplane *d)
{
	if (!atomic_load_explicit(&d->called, memory_order_acquire))
		return;
	atomic_store_explicit(&d->called, false, memory_order_relaxed);
	d->work(d, d->argument);
	pthread_mutex_lock(&d->mutex);
	d->finished = true;
	pthread_cond_signal(&d->condition);
	pthread_mutex_unlock(&d->mutex);
}

/* A namespace that was deleted: its descriptor would report errors for ever. */
void dataplane_lose(struct dataplane *d, uint32_t slot)
{
	struct port *port = slots_port(d->slots, slot);

	port->gone = true;
	if (port->fd >= 0)
		epoll_ctl(d->epoll, EPOLL_CTL_DEL, port->fd, NULL);
}

static void receive(struct dataplane *d, uint32_t slot, bool error)
{
	struct port *port = slots_port(d->slots, slot);
	uint32_t before = slots_waiting(d->slots);

	if (!port || port->gone)
		return;
	/* With EPOLLERR and no packet to read: a TAP whose interface was deleted. */
	if (!slots_receive(d->slots, slot, TURN) || (error && port->request.kind == PORT_TAP &&
						     slots_waiting(d->slots) == before && before < BATCH))
		dataplane_lose(d, slot);
}

static void gather(struct dataplane *d, int timeout_ms)
{
	struct epoll_event events[EVENTS];
	int count = epoll_wait(d->epoll, events, EVENTS, timeout_ms);

	for (int i = 0; i < count; i++) {
		uint64_t ignored;

		if (events[i].data.u32 != WAKE)
			receive(d, events[i].data.u32, events[i].events & (EPOLLERR | EPOLLHUP));
		else if (read(d->wake, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN)
			abort();
	}
	for (uint32_t i = 0; i < d->polled_count; i++)
		receive(d, d->polled[i], false);
}

/* How long epoll may wait: -1 for ever. */
static int patience(const struct dataplane *d, uint64_t busy_at)
{
	if (d->idle == IDLE_SPIN)
		return 0;
	if (d->idle == IDLE_ADAPTIVE && now_us() - busy_at < d->spin_us)
		return 0;
	return d->polled_count ? POLL_MS : -1;
}

static void *run(void *argument)
{
	struct dataplane *d = argument;
	uint64_t busy_at = now_us();

	for (;;) {
		int timeout = patience(d, busy_at);

		if (timeout)
			d->counters.sleeps++;
		gather(d, timeout);
		answer_call(d);
		if (!slots_waiting(d->slots))
			continue;
		d->counters.batches++;
		d->counters.packets += slots_waiting(d->slots);
		slots_run(d->slots, d->program);
		if (d->idle == IDLE_ADAPTIVE)
			busy_at = now_us();
	}
	return NULL;
}

static int settle(struct dataplane *d, const struct dataplane_options *options, struct failure *f)
{
	int status;

	if (options->core >= 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET((size_t)options->core, &set);
		status = pthread_setaffinity_np(d->thread, sizeof(set), &set);
		if (status)
			return fail(f, STATUS_SYSTEM, "core %d: %s", options->core, strerror(status));
	}
	if (options->priority > 0) {
		struct sched_param param = { .sched_priority = options->priority };

		status = pthread_setschedparam(d->thread, SCHED_FIFO, &param);
		if (status)
			return fail(f, STATUS_SYSTEM, "real-time priority %d: %s", options->priority, strerror(status));
	}
	return 0;
}

struct dataplane *dataplane_start(const struct dataplane_options *options, struct slots *slots, struct failure *f)
{
	struct dataplane *d = calloc(1, sizeof(*d));
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = WAKE };
	int status;

	if (d)
		d->polled = calloc(slots_count(slots), sizeof(*d->polled));
	if (!d || !d->polled) {
		fail(f, STATUS_SYSTEM, "no memory for the data thread");
		return NULL;
	}
	d->slots = slots;
	d->idle = options->idle;
	d->spin_us = options->spin_us;
	pthread_mutex_init(&d->mutex, NULL);
	pthread_cond_init(&d->condition, NULL);
	d->epoll = epoll_create1(EPOLL_CLOEXEC);
	d->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->epoll < 0 || d->wake < 0 || epoll_ctl(d->epoll, EPOLL_CTL_ADD, d->wake, &event)) {
		fail(f, STATUS_SYSTEM, "no epoll: %s", strerror(errno));
		return NULL;
	}
	status = pthread_create(&d->thread, NULL, run, d);
	if (status) {
		fail(f, STATUS_SYSTEM, "no data thread: %s", strerror(status));
		return NULL;
	}
	pthread_setname_np(d->thread, "packets");
	return settle(d, options, f) ? NULL : d;
}

struct slots *dataplane_slots(struct dataplane *d)
{
	return d->slots;
}

struct program *dataplane_program(struct dataplane *d)
{
	return d->program;
}

void dataplane_set_program(struct dataplane *d, struct program *p)
{
	d->program = p;
	slots_set_reach(d->slots, p ? p->reach : 0);
}

void dataplane_set_idle(struct dataplane *d, enum idle_mode mode, uint32_t spin_us)
{
	d->idle = mode;
	d->spin_us = spin_us;
}

void dataplane_get_idle(struct dataplane *d, enum idle_mode *mode, uint32_t *spin_us)
{
	*mode = d->idle;
	*spin_us = d->spin_us;
}

int dataplane_attach(struct dataplane *d, uint32_t slot, struct port *port)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = slot };

	if (slots_port(d->slots, slot))
		return -EEXIST;
	if (port->fd >= 0) {
		if (epoll_ctl(d->epoll, EPOLL_CTL_ADD, port->fd, &event))
			return -errno;
	} else if (port->request.kind != PORT_MEMORY) {
		d->polled[d->polled_count++] = slot;
	}
	slots_set_port(d->slots, slot, port);
	return 0;
}

struct port *dataplane_detach(struct dataplane *d, uint32_t slot)
{
	struct port *port = slots_port(d->slots, slot);

	if (!port)
		return NULL;
	slots_set_port(d->slots, slot, NULL);
	if (port->fd >= 0)
		epoll_ctl(d->epoll, EPOLL_CTL_DEL, port->fd, NULL);
	for (uint32_t i = 0; i < d->polled_count; i++)
		if (d->polled[i] == slot) {
			d->polled[i] = d->polled[--d->polled_count];
			break;
		}
	return port;
}

const struct dataplane_counters *dataplane_counters(struct dataplane *d)
{
	return &d->counters;
}
