/* SPDX-License-Identifier: Apache-2.0 */
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS 8
#define READ_STEP 65536
/* A client that does not take its answers is not asked for more. */
#define UNSENT_MAX (4u << 20)

struct client {
	int fd;
	/* Received and not yet served; sent from `sent` on. */
	struct writer in, out;
	size_t sent;
	/* Answered what it must know, then closed. */
	bool closing;
};

struct server {
	struct engine *engine;
	int epoll, listener, signals;
	struct client clients[CLIENTS];
};

/* ---- the socket ---- */

static bool in_use(const struct sockaddr_un *address)
{
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool used = s >= 0 && !connect(s, (const struct sockaddr *)address, sizeof(*address));

	if (s >= 0)
		close(s);
	return used;
}

int server_listen(const char *path, struct failure *f)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat now;
	mode_t mask;
	int s, status;

	if (strlen(path) >= sizeof(address.sun_path))
		return fail(f, STATUS_INVALID, "%s: the path of a socket has at most %zu characters", path,
			    sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	if (!lstat(path, &now) && S_ISSOCK(now.st_mode)) {
		if (in_use(&address))
			return fail(f, STATUS_EXISTS, "%s: another engine listens there", path);
		unlink(path);
	}
	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s < 0)
		return fail(f, STATUS_SYSTEM, "no socket: %s", strerror(errno));
	mask = umask(0177);
	status = bind(s, (struct sockaddr *)&address, sizeof(address)) || listen(s, CLIENTS) ? errno : 0;
	umask(mask);
	if (!status)
		return s;
	close(s);
	return fail(f, STATUS_SYSTEM, "%s: %s", path, strerror(status));
}

/* ---- clients ---- */

static void watch(struct server *s, struct client *c, int operation)
{
	bool full = c->out.length - c->sent > UNSENT_MAX || c->closing;
	struct epoll_event event = { .data.ptr = c };

	event.events = (full ? 0 : EPOLLIN) | (c->out.length > c->sent ? EPOLLOUT : 0);
	epoll_ctl(s->epoll, operation, c->fd, &event);
}

static void leave(struct client *c)
{
	close(c->fd);
	c->fd = -1;
	writer_free(&c->in);
	writer_free(&c->out);
	c->sent = 0;
	c->closing = false;
}

static bool is_owner(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) && (peer.uid == geteuid() || !peer.uid);
}

static void welcome(struct server *s)
{
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	for (int i = 0; is_owner(fd) && i < CLIENTS; i++) {
		struct client *c = &s->clients[i];

		if (c->fd >= 0)
			continue;
		c->fd = fd;
		watch(s, c, EPOLL_CTL_ADD);
		return;
	}
	close(fd);
}

static void put_header(struct writer *w, uint8_t operation, uint8_t status, uint32_t id)
{
	write_u32(w, 0);
	write_u8(w, operation);
	write_u8(w, status);
	write_u16(w, 0);
	write_u32(w, id);
}

static void answer_failure(struct client *c, uint8_t operation, uint32_t id, const struct failure *f)
{
	size_t head = c->out.length, length = strlen(f->words);

	put_header(&c->out, operation, (uint8_t)f->status, id);
	write_u32(&c->out, f->index);
	write_u16(&c->out, (uint16_t)length);
	write_bytes(&c->out, f->words, length);
	patch_u32(&c->out, head, (uint32_t)(c->out.length - head - FRAME_HEADER));
}

static void serve_frame(struct server *s, struct client *c, uint8_t operation, uint32_t id, struct reader *body)
{
	struct failure f = { .index = UINT32_MAX };
	size_t head = c->out.length;

	put_header(&c->out, operation, STATUS_OK, id);
	if (request_serve(s->engine, operation, body, &c->out, &f)) {
		c->out.length = head;
		answer_failure(c, operation, id, &f);
		return;
	}
	if (!c->out.bad && c->out.length - head - FRAME_HEADER > FRAME_BODY_MAX) {
		c->out.length = head;
		fail(&f, STATUS_SYSTEM, "the answer is larger than a message may be");
		answer_failure(c, operation, id, &f);
		return;
	}
	patch_u32(&c->out, head, (uint32_t)(c->out.length - head - FRAME_HEADER));
}

/* False when it can not go on: what follows could not be told apart. */
static bool check_header(struct client *c, uint32_t length, uint8_t operation, uint8_t status, uint16_t zero, uint32_t id)
{
	struct failure f = { .index = UINT32_MAX };

	if (length <= FRAME_BODY_MAX && !status && !zero)
		return true;
	fail(&f, STATUS_INVALID, length > FRAME_BODY_MAX ? "a message has at most %u bytes" : "this is no message",
	     FRAME_BODY_MAX);
	answer_failure(c, operation, id, &f);
	c->closing = true;
	return false;
}

static void serve_frames(struct server *s, struct client *c)
{
	size_t at = 0;

	while (!c->closing && !s->engine->quit && c->out.length - c->sent <= UNSENT_MAX &&
	       c->in.length - at >= FRAME_HEADER) {
		struct reader r = { c->in.data + at, c->in.data + c->in.length, false };
		uint32_t length = read_u32(&r), id;
		uint8_t operation = read_u8(&r), status = read_u8(&r);
		uint16_t zero = read_u16(&r);

		id = read_u32(&r);
		if (!check_header(c, length, operation, status, zero, id) || (size_t)(r.end - r.at) < length)
			break;
		r.end = r.at + length;
		serve_frame(s, c, operation, id, &r);
		at += FRAME_HEADER + length;
	}
	if (at)
		memmove(c->in.data, c->in.data + at, c->in.length - at);
	c->in.length -= at;
	if (!c->in.length)
		writer_free(&c->in);
}

/* False when the client is gone. */
static bool receive(struct server *s, struct client *c)
{
	uint8_t *to = write_space(&c->in, READ_STEP);
	ssize_t got;

	if (!to)
		return false;
	got = read(c->fd, to, READ_STEP);
	c->in.length -= READ_STEP - (size_t)(got > 0 ? got : 0);
	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
		return false;
	serve_frames(s, c);
	return !c->out.bad && !c->in.bad;
}

static bool transmit(struct server *s, struct client *c)
{
	while (c->sent < c->out.length) {
		ssize_t got = send(c->fd, c->out.data + c->sent, c->out.length - c->sent, MSG_NOSIGNAL);

		if (got < 0)
			return errno == EAGAIN || errno == EINTR;
		c->sent += (size_t)got;
	}
	c->sent = 0;
	c->out.length = 0;
	if (c->out.room > UNSENT_MAX)
		writer_free(&c->out);
	if (c->closing)
		return false;
	/* Requests may have waited for the answers to leave. */
	serve_frames(s, c);
	return !c->out.bad;
}

static void attend(struct server *s, struct client *c, uint32_t events)
{
	bool stays = true;

	if (c->fd < 0)
		return;
	if (events & EPOLLIN)
		stays = receive(s, c);
	else if (events & (EPOLLERR | EPOLLHUP))
		stays = false;
	if (stays && c->out.length > c->sent)
		stays = transmit(s, c);
	if (!stays)
		leave(c);
	else
		watch(s, c, EPOLL_CTL_MOD);
}

void server_run(struct engine *e, int listener, int signals)
{
	static struct server s;
	struct epoll_event event = { .events = EPOLLIN };

	s = (struct server){ .engine = e, .listener = listener, .signals = signals };
	for (int i = 0; i < CLIENTS; i++)
		s.clients[i].fd = -1;
	s.epoll = epoll_create1(EPOLL_CLOEXEC);
	event.data.ptr = &s.listener;
	epoll_ctl(s.epoll, EPOLL_CTL_ADD, listener, &event);
	event.data.ptr = &s.signals;
	epoll_ctl(s.epoll, EPOLL_CTL_ADD, signals, &event);
	while (!e->quit) {
		struct epoll_event events[CLIENTS + 2];
		int count = epoll_wait(s.epoll, events, CLIENTS + 2, -1);

		for (int i = 0; i < count && !e->quit; i++) {
			if (events[i].data.ptr == &s.listener)
				welcome(&s);
			else if (events[i].data.ptr == &s.signals)
				return;
			else
				attend(&s, events[i].data.ptr, events[i].events);
		}
	}
	/* The answer to OP_QUIT. */
	for (int i = 0; i < CLIENTS; i++)
		if (s.clients[i].fd >= 0)
			transmit(&s, &s.clients[i]);
}
