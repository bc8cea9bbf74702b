/* SPDX-License-Identifier: Apache-2.0
 *
 * calico-p4-felix-bridge: what Felix starts as its dataplane driver inside the calico-node container. It joins the
 * descriptors that Felix gives (3: its messages, 4: the answers) to the unix socket of the driver, which runs beside
 * calico-node and outlives every Felix. One program, no libraries, no state:
 *
 *      Felix ── fd 3 ──► down ──► socket ──► driver
 *            ◄── fd 4 ── up   ◄── socket ◄──
 *
 * It waits for the driver, and ends when either side ends. Felix ends with it, and is started again by its supervisor.
 * Each direction holds BUFFER bytes at most: whoever is slow makes the other side wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SOCKET_PATH "/var/run/calico/felix-dataplane.sock"
#define SOCKET_VARIABLE "CALICO_P4_FELIX_SOCKET"

enum { FROM_FELIX = 3, TO_FELIX = 4 };
enum { END_FELIX = 0, END_DRIVER = 1, END_USAGE = 2 };

#define BUFFER (64 * 1024)
/* Milliseconds: between two tries to connect; between two lines about it; for the driver's last words once Felix ended. */
#define TRY_AGAIN 250
#define SAY_AGAIN 60000
#define LAST_WORDS 3000

/* One direction. It is over once `from` has ended, and all that came has been written. */
struct way {
	int from, to;
	bool ended;
	size_t start, end;
	char bytes[BUFFER];
};

static volatile sig_atomic_t told_to_stop;

static void on_signal(int number)
{
	(void)number;
	told_to_stop = 1;
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	char line[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	dprintf(STDERR_FILENO, "calico-p4-felix-bridge: %s\n", line);
}

static long long milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* ppoll, with the signals let in only while it waits, so that none is missed. A timeout below 0 is none. */
static int wait_for(struct pollfd *fds, nfds_t count, long long timeout)
{
	const struct timespec time = { .tv_sec = timeout / 1000, .tv_nsec = timeout % 1000 * 1000000 };
	sigset_t none;

	sigemptyset(&none);
	return ppoll(fds, count, timeout < 0 ? NULL : &time, &none);
}

/* Returns the socket; -1: Felix has gone, or we shall. */
static int connect_to_driver(const struct sockaddr_un *address)
{
	long long said = 0;

	while (!told_to_stop) {
		/* Never waits: a driver that is too busy to listen is one that is not there yet. */
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

		if (fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0) {
			say("joined to the driver at %s", address->sun_path);
			return fd;
		}
		if (said == 0 || milliseconds() - said >= SAY_AGAIN) {
			said = milliseconds();
			say("waiting for the driver at %s (%s); is calico-p4 driver running, with felix.link: unix:PATH, and the path mounted here?",
			    address->sun_path, strerror(errno));
		}
		if (fd >= 0)
			close(fd);
		/* No events: the end of Felix is told all the same. */
		struct pollfd felix[] = { { .fd = FROM_FELIX }, { .fd = TO_FELIX } };
		if (wait_for(felix, 2, TRY_AGAIN) > 0)
			return -1;
	}
	return -1;
}

static bool is_empty(const struct way *way)
{
	return way->start == way->end;
}

static bool may_wait(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* Takes what there is, if there is room. */
static void take(struct way *way)
{
	ssize_t got;

	if (way->ended || !is_empty(way))
		return;
	got = read(way->from, way->bytes, sizeof(way->bytes));
	if (got > 0) {
		way->start = 0;
		way->end = (size_t)got;
	} else if (got == 0 || !may_wait()) {
		way->ended = true;
	}
}

/* False when nobody reads any more. */
static bool give(struct way *way)
{
	ssize_t sent;

	if (is_empty(way))
		return true;
	sent = write(way->to, way->bytes + way->start, way->end - way->start);
	if (sent > 0)
		way->start += (size_t)sent;
	return sent >= 0 || may_wait();
}

/* What a way waits for: to read, or to write what it has. */
static struct pollfd wanted(const struct way *way)
{
	if (!is_empty(way))
		return (struct pollfd){ .fd = way->to, .events = POLLOUT };
	return (struct pollfd){ .fd = way->ended ? -1 : way->from, .events = POLLIN };
}

static int join(struct way *down, struct way *up)
{
	/* -1: Felix is there. Else: until when the driver may answer what Felix said last. */
	long long deadline = -1;
	bool deaf = false;

	for (;;) {
		struct pollfd fds[] = { wanted(down), wanted(up) };
		long long left = deadline < 0 ? -1 : deadline - milliseconds();

		if (deadline >= 0 && left <= 0)
			return END_FELIX;
		if (wait_for(fds, 2, left) < 0 && errno != EINTR) {
			say("can not wait for either side: %s", strerror(errno));
			return END_USAGE;
		}
		take(down);
		take(up);
		if (!give(up)) {
			say("Felix has gone");
			return END_FELIX;
		}
		/* What the driver said before it went is still delivered. */
		if (!give(down)) {
			deaf = down->ended = true;
			down->start = down->end;
		}
		if (up->ended && is_empty(up)) {
			if (deadline >= 0)
				return END_FELIX;
			say("the driver has closed the link; Felix is to be started again");
			return END_DRIVER;
		}
		if (told_to_stop)
			down->ended = true;
		if (down->ended && is_empty(down) && !deaf && deadline < 0) {
			say(told_to_stop ? "told to stop" : "Felix has ended");
			shutdown(down->to, SHUT_WR);
			deadline = milliseconds() + LAST_WORDS;
		}
	}
}

static bool without_blocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

int main(int argc, char **argv)
{
	static struct way down, up;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct sigaction act = { .sa_handler = on_signal }, ignore = { .sa_handler = SIG_IGN };
	const char *path = argc > 1 ? argv[1] : getenv(SOCKET_VARIABLE);
	sigset_t signals;
	int driver;

	if (path == NULL || *path == '\0')
		path = SOCKET_PATH;
	if (argc > 2 || *path == '-' || strlen(path) >= sizeof(address.sun_path)) {
		say("usage: calico-p4-felix-bridge [SOCKET], a path of %zu bytes at most; or %s; else %s",
		    sizeof(address.sun_path) - 1, SOCKET_VARIABLE, SOCKET_PATH);
		return END_USAGE;
	}
	memcpy(address.sun_path, path, strlen(path));
	if (!without_blocking(FROM_FELIX) || !without_blocking(TO_FELIX)) {
		say("descriptors %d and %d are not open: Felix gives them to what its DataplaneDriver setting names", FROM_FELIX,
		    TO_FELIX);
		return END_USAGE;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGPIPE, &ignore, NULL);

	driver = connect_to_driver(&address);
	if (driver < 0) {
		say("%s before the driver was there", told_to_stop ? "told to stop" : "Felix has ended");
		return END_FELIX;
	}
	down = (struct way){ .from = FROM_FELIX, .to = driver };
	up = (struct way){ .from = driver, .to = TO_FELIX };
	return join(&down, &up);
}
