/* SPDX-License-Identifier: Apache-2.0
 *
 * calico-p4-engine: runs compiled P4 programs (.spec) with DPDK's SWX pipeline on the packets of real ports, and is told
 * what to do on a unix socket (docs/engine-protocol.md).
 */
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>

#include "compiled.h"
#include "dataplane.h"
#include "requests.h"
#include "server.h"
#include "slots.h"
#include "trial.h"

#define DEVICES_MAX 16
#define EAL_ARGUMENTS_MAX (20 + 2 * DEVICES_MAX)

struct options {
	const char *socket;
	uint32_t slots;
	uint32_t memory_mb;
	struct dataplane_options dataplane;
	const char *devices[DEVICES_MAX];
	uint32_t device_count;
	bool huge;
	bool trial;
	bool interpret;
};

static const char usage[] =
	"usage: calico-p4-engine --socket PATH [options]\n"
	"  --slots N          ports that programs may name: 0 to N-1 (1024; at most 4096)\n"
	"  --memory MB        memory for tables and packets, touched as it is needed (2048)\n"
	"  --huge             take it from hugepages\n"
	"  --idle MODE        sleep, adaptive or spin while there are no packets (adaptive)\n"
	"  --spin-us N        adaptive: look that long before sleeping (50)\n"
	"  --core N           run packets on this core\n"
	"  --realtime N       run packets with this SCHED_FIFO priority (1 to 99)\n"
	"  --device ADDRESS   a DPDK device: a PCI address, or a virtual device; may be repeated\n"
	"  --interpret        run every program in DPDK's interpreter, also one that is compiled in\n";

static uint32_t number(const char *text, uint32_t least, uint32_t most, const char *option)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || end == text || value < least || value > most) {
		fprintf(stderr, "engine: --%s %s: give a number from %u to %u\n", option, text, least, most);
		exit(2);
	}
	return (uint32_t)value;
}

static enum idle_mode idle_mode(const char *text)
{
	if (!strcmp(text, "sleep"))
		return IDLE_SLEEP;
	if (!strcmp(text, "adaptive"))
		return IDLE_ADAPTIVE;
	if (!strcmp(text, "spin"))
		return IDLE_SPIN;
	fprintf(stderr, "engine: --idle %s: give sleep, adaptive or spin\n", text);
	exit(2);
}

static void read_options(int argc, char **argv, struct options *o)
{
	static const struct option known[] = {
		{ "socket", required_argument, NULL, 's' },   { "slots", required_argument, NULL, 'n' },
		{ "memory", required_argument, NULL, 'm' },   { "huge", no_argument, NULL, 'H' },
		{ "idle", required_argument, NULL, 'i' },     { "spin-us", required_argument, NULL, 'u' },
		{ "core", required_argument, NULL, 'c' },     { "realtime", required_argument, NULL, 'r' },
		{ "device", required_argument, NULL, 'd' },   { "trial", no_argument, NULL, 't' },
		{ "interpret", no_argument, NULL, 'I' },      { "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (c) {
		case 's':
			o->socket = optarg;
			break;
		case 'n':
			o->slots = number(optarg, 1, SLOTS_MAX, "slots");
			break;
		case 'm':
			o->memory_mb = number(optarg, 64, 1 << 20, "memory");
			break;
		case 'H':
			o->huge = true;
			break;
		case 'i':
			o->dataplane.idle = idle_mode(optarg);
			break;
		case 'u':
			o->dataplane.spin_us = number(optarg, 0, 1000000, "spin-us");
			break;
		case 'c':
			o->dataplane.core = (int)number(optarg, 0, CPU_SETSIZE - 1, "core");
			break;
		case 'r':
			o->dataplane.priority = (int)number(optarg, 1, 99, "realtime");
			break;
		case 'd':
			if (o->device_count == DEVICES_MAX) {
				fprintf(stderr, "engine: at most %d devices\n", DEVICES_MAX);
				exit(2);
			}
			o->devices[o->device_count++] = optarg;
			break;
		case 'I':
			o->interpret = true;
			break;
		case 't':
			o->trial = true;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			fputs(usage, stderr);
			exit(2);
		}
	}
	if (optind < argc || (!o->socket && !o->trial)) {
		fputs(usage, stderr);
		exit(2);
	}
}

static bool is_pci(const char *device)
{
	return strchr(device, ':') && strchr(device, '.') && strspn(device, "0123456789abcdefABCDEF:.") == strlen(device);
}

/* All cores that the process may use: EAL would nail its main thread, and all threads made by it, to one. */
static void core_list(char *text, size_t size)
{
	size_t length = (size_t)snprintf(text, size, "0@(");
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set)) {
		snprintf(text, size, "0");
		return;
	}
	for (int core = 0; core < CPU_SETSIZE && length < size - 8; core++)
		if (CPU_ISSET(core, &set))
			length += (size_t)snprintf(text + length, size - length, "%d,", core);
	text[length - 1] = ')';
}

static int start_eal(const struct options *o, char *program)
{
	char prefix[48], cores[4096], memory[16];
	char *arguments[EAL_ARGUMENTS_MAX];
	int count = 0;
	bool pci = false;

	snprintf(prefix, sizeof(prefix), "calico-p4-engine-%d", (int)getpid());
	snprintf(memory, sizeof(memory), "%u", o->memory_mb);
	core_list(cores, sizeof(cores));
	arguments[count++] = program;
	arguments[count++] = "-m";
	arguments[count++] = memory;
	arguments[count++] = "--no-shconf";
	arguments[count++] = "--no-telemetry";
	arguments[count++] = "--file-prefix";
	arguments[count++] = prefix;
	arguments[count++] = "--lcores";
	arguments[count++] = cores;
	arguments[count++] = "--log-level";
	arguments[count++] = "3";
	if (!o->huge)
		arguments[count++] = "--no-huge";
	for (uint32_t i = 0; i < o->device_count; i++) {
		pci |= is_pci(o->devices[i]);
		arguments[count++] = is_pci(o->devices[i]) ? "-a" : "--vdev";
		arguments[count++] = (char *)(uintptr_t)o->devices[i];
	}
	if (!pci)
		arguments[count++] = "--no-pci";
	if (rte_eal_init(count, arguments) < 0) {
		fprintf(stderr, "engine: DPDK does not start: %s\n", rte_strerror(rte_errno));
		return -1;
	}
	/* Otherwise every run would leave an empty directory behind. */
	rmdir(rte_eal_get_runtime_dir());
	return 0;
}

static int serve(const struct options *o, const sigset_t *signals)
{
	struct engine e = { .trial = { o->slots, o->memory_mb } };
	struct failure f = { 0 };
	int listener, signal_fd = signalfd(-1, signals, SFD_CLOEXEC);

	if (getrandom(&e.boot_id, sizeof(e.boot_id), 0) != sizeof(e.boot_id) || signal_fd < 0) {
		fprintf(stderr, "engine: %s\n", strerror(errno));
		return 1;
	}
	e.slots = slots_create(o->slots, &f);
	e.dataplane = e.slots ? dataplane_start(&o->dataplane, e.slots, &f) : NULL;
	listener = e.dataplane ? server_listen(o->socket, &f) : -1;
	if (listener < 0) {
		fprintf(stderr, "engine: %s\n", f.words);
		return 1;
	}
	printf("engine: listens on %s\n", o->socket);
	fflush(stdout);
	server_run(&e, listener, signal_fd);
	unlink(o->socket);
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = {
		.slots = 1024,
		.memory_mb = 2048,
		.dataplane = { .core = -1, .idle = IDLE_ADAPTIVE, .spin_us = 50 },
	};
	sigset_t signals;

	read_options(argc, argv, &o);
	if (o.interpret || getenv("CALICO_P4_ENGINE_INTERPRET"))
		compiled_forbid();
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	/* Before DPDK makes threads, so that none of them takes these. */
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (start_eal(&o, argv[0]))
		return 1;
	/* Threads, and devices, end with the process: nothing of them has to be put in order. */
	_exit(o.trial ? trial_main(o.slots) : serve(&o, &signals));
}
