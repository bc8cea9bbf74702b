/* SPDX-License-Identifier: Apache-2.0
 *
 * swx-check SPEC [COMMANDS]: builds a pipeline from a .spec inside DPDK, the real one, and runs packets through it.
 * It is the witness that differential.test.ts holds our interpreter against.
 *
 * Commands come from the file COMMANDS or from standard input, one a line; empty lines and lines with # are skipped:
 *   entry TABLE match VALUE[/MASK] ... [priority N] action NAME FIELD VALUE ...
 *       adds an entry, in the form of rte_swx_ctl_pipeline_table_entry_read(): one VALUE for each key field, numbers as
 *       people write them (the library knows which fields are in network order), priority 0 being the highest.
 *   packet PORT HEX
 *       sends one frame in; answers `PORT HEX` or `drop`.
 *   register NAME INDEX
 *       answers the value in decimal.
 * Without commands it only tells whether DPDK takes the spec. Exit status: 0 good, 1 bad spec or command (the reason is
 * on standard error), 2 DPDK does not start here.
 *
 * Link it statically: the shared library hides pipeline_spec_parse() and pipeline_spec_configure().
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_swx_ctl.h>
#include <rte_swx_pipeline.h>
#include <rte_swx_port_ring.h>

struct pipeline_spec;
struct pipeline_spec *pipeline_spec_parse(FILE *spec, uint32_t *err_line, const char **err_msg);
int pipeline_spec_configure(struct rte_swx_pipeline *p, struct pipeline_spec *s, const char **err_msg);

/* A power of two, as SWX wants the number of input ports to be. */
#define PORTS 16
#define FRAME_MAX 4096
/* `extract` does not look at the length of the packet: the bytes it may read behind a short one are zeros. */
#define PADDING 256
#define RING_SIZE 8
/* Enough for every packet: the pipeline shares these with 15 threads that find no packet. */
#define RUNS_MAX 10000
#define INSTRUCTIONS_A_RUN 256

static struct rte_swx_pipeline *pipeline;
static struct rte_swx_ctl_pipeline *control;
static struct rte_mempool *pool;
static struct rte_ring *ring_in[PORTS];
static struct rte_ring *ring_out[PORTS];
static int uncommitted;
static unsigned int line_number;

__attribute__((noreturn, format(printf, 2, 3))) static void fail(int status, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fflush(stdout);
	if (line_number)
		fprintf(stderr, "line %u: ", line_number);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(status);
}

static void start_eal(char *program)
{
	char prefix[32], core[32];
	/* 1500 MB of memory that is touched only where tables are used. */
	char *arguments[] = { program, "--no-huge", "-m", "1500", "--no-pci", "--no-shconf", "--no-telemetry",
			      "--file-prefix", prefix, "--lcores", core, "--log-level", "3", NULL };

	snprintf(prefix, sizeof(prefix), "swx-check-%d", (int)getpid());
	snprintf(core, sizeof(core), "0@%d", sched_getcpu());
	if (rte_eal_init(RTE_DIM(arguments) - 1, arguments) < 0)
		fail(2, "DPDK does not start: %s", rte_strerror(rte_errno));
	/* Otherwise every run would leave an empty directory behind. */
	rmdir(rte_eal_get_runtime_dir());
}

static struct rte_ring *new_ring(const char *direction, int port, char *name, size_t size)
{
	struct rte_ring *ring;

	snprintf(name, size, "%s%d", direction, port);
	ring = rte_ring_create(name, RING_SIZE, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	if (!ring)
		fail(2, "no memory for ring %s: %s", name, rte_strerror(rte_errno));
	return ring;
}

static void add_ports(void)
{
	char name[16];

	for (int port = 0; port < PORTS; port++) {
		struct rte_swx_port_ring_reader_params reader = { .name = name, .burst_size = 1 };

		ring_in[port] = new_ring("in", port, name, sizeof(name));
		if (rte_swx_pipeline_port_in_config(pipeline, port, "ring", &reader))
			fail(2, "input port %d can not be made", port);
	}
	for (int port = 0; port < PORTS; port++) {
		/* With larger bursts a packet would wait in the port for others. */
		struct rte_swx_port_ring_writer_params writer = { .name = name, .burst_size = 1 };

		ring_out[port] = new_ring("out", port, name, sizeof(name));
		if (rte_swx_pipeline_port_out_config(pipeline, port, "ring", &writer))
			fail(2, "output port %d can not be made", port);
	}
}

static void build(const char *path)
{
	FILE *file = fopen(path, "r");
	struct pipeline_spec *spec;
	const char *message = "no reason given";
	uint32_t line = 0;
	int status;

	if (!file)
		fail(1, "%s: %s", path, strerror(errno));
	spec = pipeline_spec_parse(file, &line, &message);
	fclose(file);
	if (!spec)
		fail(1, "%s:%u: %s", path, line, message);
	status = pipeline_spec_configure(pipeline, spec, &message);
	if (status)
		fail(1, "%s: DPDK refuses it: %s (%s)", path, message, strerror(-status));
	status = rte_swx_pipeline_build(pipeline);
	if (status)
		fail(1, "%s: DPDK can not build it: %s", path, strerror(-status));
	control = rte_swx_ctl_pipeline_create(pipeline);
	if (!control)
		fail(2, "no control handle");
}

static void add_entry(char *rest)
{
	char *table = strsep(&rest, " ");
	struct rte_swx_table_entry *entry;
	int blank = 0, status;

	if (!rest)
		fail(1, "usage: entry TABLE match ... action ...");
	entry = rte_swx_ctl_pipeline_table_entry_read(control, table, rest, &blank);
	if (!entry)
		fail(1, "table %s: DPDK can not read the entry: %s", table, rest);
	status = rte_swx_ctl_pipeline_table_entry_add(control, table, entry);
	if (status)
		fail(1, "table %s: DPDK refuses the entry: %s (%s)", table, rest, strerror(-status));
	/* The library has made its own copy. */
	free(entry->key);
	free(entry->key_mask);
	free(entry->action_data);
	free(entry);
	uncommitted = 1;
}

static void commit(void)
{
	int status;

	if (!uncommitted)
		return;
	status = rte_swx_ctl_pipeline_commit(control, 1);
	if (status)
		fail(1, "commit: %s", strerror(-status));
	uncommitted = 0;
}

static unsigned long number(const char *text, unsigned long limit, const char *what)
{
	char *end;
	unsigned long value = text ? strtoul(text, &end, 0) : 0;

	if (!text || end == text || *end || value >= limit)
		fail(1, "%s must be a number below %lu", what, limit);
	return value;
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static struct rte_mbuf *read_frame(const char *hex)
{
	struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);
	size_t digits = strlen(hex);
	uint8_t *data;

	if (!mbuf)
		fail(1, "no packet buffer is left: the pipeline keeps packets");
	if (digits % 2 || digits / 2 > FRAME_MAX)
		fail(1, "a frame is an even number of hex digits and at most %d bytes", FRAME_MAX);
	data = rte_pktmbuf_mtod(mbuf, uint8_t *);
	memset(data, 0, FRAME_MAX + PADDING);
	for (size_t i = 0; i < digits; i += 2) {
		int high = nibble(hex[i]), low = nibble(hex[i + 1]);

		if (high < 0 || low < 0)
			fail(1, "a frame is written in the digits 0-9 and a-f");
		data[i / 2] = (uint8_t)(high << 4 | low);
	}
	mbuf->data_len = (uint16_t)(digits / 2);
	mbuf->pkt_len = mbuf->data_len;
	return mbuf;
}

static void print_packet(int port, struct rte_mbuf *mbuf)
{
	const uint8_t *data = rte_pktmbuf_mtod(mbuf, const uint8_t *);

	printf("%d ", port);
	for (uint32_t i = 0; i < mbuf->data_len; i++)
		printf("%02x", data[i]);
	putchar('\n');
	rte_pktmbuf_free(mbuf);
}

/*
 * One packet at a time: the next one must see what this one made the pipeline learn. A drop shows in that the buffer is
 * free again and the packet in no ring: DPDK adds an output port of its own that frees what is dropped.
 */
static void send_packet(char *rest)
{
	unsigned long port = number(strsep(&rest, " "), PORTS, "the port");
	struct rte_mbuf *mbuf = read_frame(rest ? rest : "");
	void *out = NULL;

	commit();
	if (rte_ring_enqueue(ring_in[port], mbuf))
		fail(1, "input port %lu is full", port);
	for (int run = 0; run < RUNS_MAX; run++) {
		rte_swx_pipeline_run(pipeline, INSTRUCTIONS_A_RUN);
		for (int to = 0; to < PORTS; to++) {
			if (rte_ring_dequeue(ring_out[to], &out) == 0) {
				print_packet(to, out);
				return;
			}
		}
		if (rte_mempool_in_use_count(pool) == 0) {
			puts("drop");
			return;
		}
	}
	fail(1, "the packet never came out");
}

static void print_register(char *rest)
{
	char *name = strsep(&rest, " ");
	uint32_t index = (uint32_t)number(rest, UINT32_MAX, "the index");
	uint64_t value;

	if (rte_swx_ctl_pipeline_regarray_read(pipeline, name, index, &value))
		fail(1, "no register %s[%u]", name, index);
	printf("%lu\n", value);
}

static void run_commands(FILE *file)
{
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, file) >= 0) {
		char *rest = line, *command;

		line_number++;
		line[strcspn(line, "\r\n")] = 0;
		if (!line[0] || line[0] == '#')
			continue;
		command = strsep(&rest, " ");
		if (!rest)
			fail(1, "'%s' lacks its arguments", command);
		if (!strcmp(command, "entry"))
			add_entry(rest);
		else if (!strcmp(command, "packet"))
			send_packet(rest);
		else if (!strcmp(command, "register"))
			print_register(rest);
		else
			fail(1, "unknown command '%s': known are entry, packet, register", command);
	}
	commit();
	free(line);
}

int main(int argc, char **argv)
{
	FILE *commands = stdin;

	if (argc < 2 || argc > 3)
		fail(1, "usage: %s SPEC [COMMANDS]", argv[0]);
	if (argc == 3 && !(commands = fopen(argv[2], "r")))
		fail(1, "%s: %s", argv[2], strerror(errno));
	start_eal(argv[0]);
	pool = rte_pktmbuf_pool_create("frames", 63, 0, 0, RTE_PKTMBUF_HEADROOM + FRAME_MAX + PADDING, SOCKET_ID_ANY);
	if (!pool)
		fail(2, "no memory for packets: %s", rte_strerror(rte_errno));
	if (rte_swx_pipeline_config(&pipeline, "swx-check", 0))
		fail(2, "no pipeline");
	add_ports();
	build(argv[1]);
	run_commands(commands);
	return fflush(stdout) ? 1 : 0;
}
