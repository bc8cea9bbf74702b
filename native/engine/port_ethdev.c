/* SPDX-License-Identifier: Apache-2.0
 *
 * A device that DPDK drives: a NIC by its PCI address, given to the engine with --device at its start. Frames are copied
 * into the engine's own buffers, which have the room that programs may need around a packet.
 */
#include "port.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#define RING 512

/* Devices can not be closed and opened again reliably: a pool each, made at its first opening. */
static struct rte_mempool *pools[RTE_MAX_ETHPORTS];

/* Takes the tag out: the new length, 0 for a frame of another VLAN or of none. */
static uint32_t without_tag(const struct port *port, uint8_t *data, uint32_t length)
{
	uint8_t tag[TAG];

	tag_write(port, tag);
	/* The upper four bits of the number are priority and drop eligibility. */
	if (length < ADDRESSES + TAG + 2 || memcmp(data + ADDRESSES, tag, 2) ||
	    (data[ADDRESSES + 2] & 0x0f) != tag[2] || data[ADDRESSES + 3] != tag[3])
		return 0;
	memmove(data + ADDRESSES, data + ADDRESSES + TAG, length - ADDRESSES - TAG);
	return length - TAG;
}

static int ethdev_receive(struct port *port, uint8_t *data)
{
	struct rte_mbuf *m;
	const void *at;
	uint32_t length;

	if (!rte_eth_rx_burst((uint16_t)port->device, 0, &m, 1))
		return 0;
	length = m->pkt_len;
	at = length <= WIRE_MAX ? rte_pktmbuf_read(m, 0, length, data) : NULL;
	if (!at) {
		port->counters.rx_dropped++;
		length = 0;
	} else if (at != data) {
		memcpy(data, at, length);
	}
	rte_pktmbuf_free(m);
	if (length && port->request.vlan) {
		length = without_tag(port, data, length);
		port->counters.rx_dropped += !length;
	}
	return (int)length;
}

static bool ethdev_transmit(struct port *port, const uint8_t *data, uint32_t length)
{
	uint32_t tag = port->request.vlan ? TAG : 0;
	struct rte_mbuf *m = rte_pktmbuf_alloc(pools[port->device]);
	uint8_t *to = m ? (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(length + tag)) : NULL;

	if (to) {
		memcpy(to, data, ADDRESSES);
		if (tag)
			tag_write(port, to + ADDRESSES);
		memcpy(to + ADDRESSES + tag, data + ADDRESSES, length - ADDRESSES);
		if (rte_eth_tx_burst((uint16_t)port->device, 0, &m, 1) == 1)
			return true;
	}
	rte_pktmbuf_free(m);
	return false;
}

static void ethdev_close(struct port *port, bool remove)
{
	(void)remove;
	rte_eth_dev_stop((uint16_t)port->device);
}

static const struct port_ops ethdev_ops = { ethdev_receive, ethdev_transmit, ethdev_close, NULL };

static int start(struct port *port, uint16_t id, struct failure *f)
{
	struct rte_eth_conf configuration = { 0 };
	const char *step = "configuring it";
	int status = rte_eth_dev_configure(id, 1, 1, &configuration);

	if (!status && port->request.mtu) {
		step = "setting the MTU";
		status = rte_eth_dev_set_mtu(id, port->request.mtu);
	}
	if (!status) {
		step = "its receive queue";
		status = rte_eth_rx_queue_setup(id, 0, RING, SOCKET_ID_ANY, NULL, pools[id]);
	}
	if (!status) {
		step = "its transmit queue";
		status = rte_eth_tx_queue_setup(id, 0, RING, SOCKET_ID_ANY, NULL);
	}
	if (!status) {
		step = "starting it";
		status = rte_eth_dev_start(id);
	}
	if (status)
		return fail(f, STATUS_SYSTEM, "device %s: %s: %s", port->request.name, step, strerror(-status));
	/* Not all devices know it; those that do not take everything. */
	rte_eth_promiscuous_enable(id);
	return 0;
}

int port_open_ethdev(struct port *port, struct failure *f)
{
	const char *name = port->request.name;
	char pool[32];
	uint16_t id;

	port->ops = &ethdev_ops;
	if (rte_eth_dev_get_port_by_name(name, &id))
		return fail(f, STATUS_NOT_FOUND,
			    "DPDK has no device %s: start the engine with --device %s, and bind it to vfio-pci", name,
			    name);
	snprintf(pool, sizeof(pool), "device%u", id);
	if (!pools[id])
		pools[id] = rte_pktmbuf_pool_create(pool, 4 * RING - 1, 0, 0, RTE_PKTMBUF_HEADROOM + WIRE_MAX,
						    SOCKET_ID_ANY);
	if (!pools[id])
		return fail(f, STATUS_SYSTEM, "no memory for the packets of device %s", name);
	port->device = id;
	return start(port, id, f);
}
