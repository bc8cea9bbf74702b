/* SPDX-License-Identifier: Apache-2.0
 *
 * A packet socket on an interface of the host: the uplink. Two things the kernel leaves to its reader are done here: a VLAN
 * tag that it took out is put back (or, on a port of a VLAN, left out), and a checksum that the sender left to the hardware (on veth there is none) is computed.
 * Frames that were merged beyond the wire's size (GRO, TSO of a veth peer) can not be taken: they are dropped and counted;
 * offloads have to be off where they arise (docs/engine-protocol.md).
 */
#include "port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* The one's complement sum of the bytes, added to `sum`. */
static uint32_t add_up(const uint8_t *data, uint32_t length, uint32_t sum)
{
	for (uint32_t i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)data[i] << 8 | data[i + 1];
	if (length & 1)
		sum += (uint32_t)data[length - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* The field holds the sum over the pseudo header already. */
static bool finish_checksum(uint8_t *data, uint32_t length, uint32_t start, uint32_t offset)
{
	uint16_t sum;

	if (start >= length || start + offset + 2 > length)
		return false;
	sum = (uint16_t)~add_up(data + start, length - start, 0);
	/* 0 would say that there is no checksum. */
	if (!sum)
		sum = 0xffff;
	data[start + offset] = (uint8_t)(sum >> 8);
	data[start + offset + 1] = (uint8_t)sum;
	return true;
}

static bool tag_of(struct msghdr *message, uint8_t tag[TAG])
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		struct tpacket_auxdata aux;
		uint16_t type;

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		if (!(aux.tp_status & TP_STATUS_VLAN_VALID))
			return false;
		type = aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid : ETHERTYPE_VLAN;
		tag[0] = (uint8_t)(type >> 8);
		tag[1] = (uint8_t)type;
		tag[2] = (uint8_t)(aux.tp_vlan_tci >> 8);
		tag[3] = (uint8_t)aux.tp_vlan_tci;
		return true;
	}
	return false;
}

/* The socket tells only that the interface went down. When it was deleted, its number has no name any more. */
static bool packet_is_deleted(struct port *port)
{
	struct ifreq r = { .ifr_ifindex = port->device };

	return ioctl(port->fd, SIOCGIFNAME, &r) && errno == ENODEV;
}

static int packet_receive(struct port *port, uint8_t *data)
{
	struct virtio_net_hdr head = { 0 };
	struct iovec parts[2] = { { &head, sizeof(head) }, { data, WIRE_MAX - TAG } };
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	} control;
	struct msghdr message = {
		.msg_iov = parts,
		.msg_iovlen = 2,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t got = recvmsg(port->fd, &message, MSG_DONTWAIT);
	uint32_t length;
	uint8_t tag[TAG];

	if (got < 0)
		return interface_is_gone(errno) ? -1 : 0;
	if ((size_t)got < sizeof(head) + ETHER_HDR_LEN || message.msg_flags & MSG_TRUNC ||
	    head.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
		port->counters.rx_dropped++;
		return 0;
	}
	length = (uint32_t)((size_t)got - sizeof(head));
	if (head.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && !finish_checksum(data, length, head.csum_start, head.csum_offset)) {
		port->counters.rx_dropped++;
		return 0;
	}
	/* A port of a VLAN gets only frames with its tag (take_vlan). */
	if (!port->request.vlan && tag_of(&message, tag)) {
		memmove(data + ADDRESSES + TAG, data + ADDRESSES, length - ADDRESSES);
		memcpy(data + ADDRESSES, tag, TAG);
		length += TAG;
	}
	return (int)length;
}

static bool packet_transmit(struct port *port, const uint8_t *data, uint32_t length)
{
	struct virtio_net_hdr head = { 0 };
	uint8_t *frame = (uint8_t *)(uintptr_t)data;
	struct iovec plain[2] = { { &head, sizeof(head) }, { frame, length } };
	uint8_t tag[TAG];
	struct iovec tagged[4] = {
		{ &head, sizeof(head) },
		{ frame, ADDRESSES },
		{ tag, TAG },
		{ frame + ADDRESSES, length - ADDRESSES },
	};

	if (!port->request.vlan)
		return writev(port->fd, plain, 2) == (ssize_t)(sizeof(head) + length);
	tag_write(port, tag);
	return writev(port->fd, tagged, 4) == (ssize_t)(sizeof(head) + length + TAG);
}

static void packet_close(struct port *port, bool remove)
{
	(void)port;
	(void)remove;
}

static const struct port_ops packet_ops = { packet_receive, packet_transmit, packet_close, packet_is_deleted };

static int option(struct port *port, int name, struct failure *f)
{
	int one = 1;

	if (!setsockopt(port->fd, SOL_PACKET, name, &one, sizeof(one)))
		return 0;
	return fail(f, STATUS_SYSTEM, "packet socket on %s: option %d: %s", port->request.name, name, strerror(errno));
}

/*
 * Of a trunk, the kernel gives us nothing but the frames of the port's VLAN: other ones would fill the socket's buffer. The tag is out
 * of the frame by then.
 */
static int take_vlan(struct port *port, struct failure *f)
{
	struct sock_filter steps[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 6, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TPID)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETHERTYPE_VLAN, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG)),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xfff),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port->request.vlan, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog filter = { sizeof(steps) / sizeof(*steps), steps };

	if (!port->request.vlan || !setsockopt(port->fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)))
		return 0;
	return fail(f, STATUS_SYSTEM, "packet socket on %s: VLAN %u: %s", port->request.name, port->request.vlan,
		    strerror(errno));
}

int port_open_packet(struct port *port, struct failure *f)
{
	const char *name = port->request.name;
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct packet_mreq promiscuous = { .mr_type = PACKET_MR_PROMISC };
	int buffer = 4 << 20;

	port->ops = &packet_ops;
	address.sll_ifindex = (int)if_nametoindex(name);
	if (!address.sll_ifindex)
		return fail(f, STATUS_SYSTEM, "there is no interface %s", name);
	/* Protocol 0: nothing of other interfaces comes in before bind. */
	port->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (port->fd < 0)
		return fail(f, STATUS_SYSTEM, "no packet socket: %s", strerror(errno));
	promiscuous.mr_ifindex = address.sll_ifindex;
	port->device = address.sll_ifindex;
	setsockopt(port->fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
	setsockopt(port->fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer));
	if (option(port, PACKET_VNET_HDR, f) || option(port, PACKET_AUXDATA, f) ||
	    option(port, PACKET_IGNORE_OUTGOING, f) || take_vlan(port, f) || interface_set_up(&port->request, f))
		return -1;
	if (setsockopt(port->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous)))
		return fail(f, STATUS_SYSTEM, "interface %s does not become promiscuous: %s", name, strerror(errno));
	if (bind(port->fd, (struct sockaddr *)&address, sizeof(address)))
		return fail(f, STATUS_SYSTEM, "packet socket on %s: %s", name, strerror(errno));
	return 0;
}
