/* SPDX-License-Identifier: Apache-2.0
 *
 * What is behind a slot: an interface of the kernel, a device of DPDK, or nothing. Ports are opened and closed by the
 * control thread, and used by the data thread only.
 */
#ifndef PORT_H
#define PORT_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "failure.h"

struct port_request {
	enum port_kind kind;
	uint8_t flags;
	/* 0: leave it as it is. */
	uint16_t mtu;
	/* Zeros: leave it as it is. */
	uint8_t mac[6];
	/* 0: frames are taken and sent as they are. */
	uint16_t vlan;
	/* Of an interface, or of a DPDK device. */
	char name[64];
	/* Path of the namespace that holds (or will hold) the interface; empty: the engine's own. */
	char netns[PATH_SIZE];
};

struct port_counters {
	uint64_t rx_packets, rx_bytes, rx_dropped;
	uint64_t tx_packets, tx_bytes, tx_dropped;
};

struct port;

struct port_ops {
	/* One frame into `data`, which has room for WIRE_MAX bytes: its length, 0 for none, -1 when the port is gone. */
	int (*receive)(struct port *port, uint8_t *data);
	/* False when it was dropped. */
	bool (*transmit)(struct port *port, const uint8_t *data, uint32_t length);
	void (*close)(struct port *port, bool remove);
	/* For ports whose `receive` does not notice; may be NULL. */
	bool (*is_deleted)(struct port *port);
};

struct port {
	const struct port_ops *ops;
	struct port_request request;
	/* To wait for packets, or -1: has to be asked again and again. */
	int fd;
	/* Number of the interface, or of DPDK's device. */
	int device;
	/* Its interface or namespace went away. */
	bool gone;
	struct port_counters counters;
};

struct port *port_open(const struct port_request *request, struct failure *f);
/* `remove`: a persistent interface goes too. */
void port_close(struct port *port, bool remove);

/* ---- for the kinds ---- */

int port_open_tap(struct port *port, struct failure *f);
int port_open_packet(struct port *port, struct failure *f);
int port_open_ethdev(struct port *port, struct failure *f);

#define ADDRESSES 12u
#define TAG 4u

/* The tag of frames of the port's VLAN. */
void tag_write(const struct port *port, uint8_t tag[TAG]);

/* Runs `work` inside the namespace at `path` ("" for the own), and comes back. */
int in_namespace(const char *path, int (*work)(struct port *port, struct failure *f), struct port *port,
		 struct failure *f);
/* MTU, MAC and up, as requested, by the interface's name; in the current namespace. */
int interface_set_up(const struct port_request *request, struct failure *f);
/* True for an errno that says that the interface is no more. */
bool interface_is_gone(int error);

#endif
