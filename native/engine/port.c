/* SPDX-License-Identifier: Apache-2.0 */
#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int memory_receive(struct port *port, uint8_t *data)
{
	(void)port;
	(void)data;
	return 0;
}

static bool memory_transmit(struct port *port, const uint8_t *data, uint32_t length)
{
	(void)port;
	(void)data;
	(void)length;
	return true;
}

static void memory_close(struct port *port, bool remove)
{
	(void)port;
	(void)remove;
}

static const struct port_ops memory_ops = { memory_receive, memory_transmit, memory_close, NULL };

int in_namespace(const char *path, int (*work)(struct port *port, struct failure *f), struct port *port,
		 struct failure *f)
{
	int own, other, status;

	if (!path[0])
		return work(port, f);
	own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	/* Not waiting: the path may be that of a pipe. */
	other = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (own < 0 || other < 0) {
		fail(f, STATUS_SYSTEM, "namespace %s: %s", path, strerror(errno));
		status = -1;
	} else if (setns(other, CLONE_NEWNET)) {
		fail(f, STATUS_SYSTEM, "namespace %s can not be entered: %s", path, strerror(errno));
		status = -1;
	} else {
		status = work(port, f);
		/* Staying there would open the next port in the wrong pod. */
		if (setns(own, CLONE_NEWNET))
			abort();
	}
	if (own >= 0)
		close(own);
	if (other >= 0)
		close(other);
	return status;
}

static int set(int s, unsigned long what, struct ifreq *r, const char *words, struct failure *f)
{
	if (!ioctl(s, what, r))
		return 0;
	return fail(f, STATUS_SYSTEM, "interface %s: %s: %s", r->ifr_name, words, strerror(errno));
}

static int set_all(int s, const struct port_request *request, struct failure *f)
{
	static const uint8_t none[6];
	struct ifreq r = { 0 };

	memcpy(r.ifr_name, request->name, IFNAMSIZ - 1);
	if (memcmp(request->mac, none, sizeof(none))) {
		struct ifreq now = r;

		if (set(s, SIOCGIFHWADDR, &now, "its MAC address", f))
			return -1;
		/* Some interfaces have to be down for that; it is done only where it changes something. */
		if (memcmp(now.ifr_hwaddr.sa_data, request->mac, sizeof(none))) {
			r.ifr_hwaddr.sa_family = ARPHRD_ETHER;
			memcpy(r.ifr_hwaddr.sa_data, request->mac, sizeof(none));
			if (set(s, SIOCSIFHWADDR, &r, "setting the MAC address", f))
				return -1;
		}
	}
	if (request->mtu) {
		r.ifr_mtu = request->mtu;
		if (set(s, SIOCSIFMTU, &r, "setting the MTU", f))
			return -1;
	}
	if (request->flags & ATTACH_UP) {
		if (set(s, SIOCGIFFLAGS, &r, "its flags", f))
			return -1;
		r.ifr_flags |= IFF_UP;
		if (set(s, SIOCSIFFLAGS, &r, "bringing it up", f))
			return -1;
	}
	return 0;
}

int interface_set_up(const struct port_request *request, struct failure *f)
{
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), status;

	if (s < 0)
		return fail(f, STATUS_SYSTEM, "interface %s: no socket: %s", request->name, strerror(errno));
	status = set_all(s, request, f);
	close(s);
	return status;
}

bool interface_is_gone(int error)
{
	return error == EBADFD || error == ENODEV || error == ENXIO || error == EBADF;
}

void tag_write(const struct port *port, uint8_t tag[TAG])
{
	tag[0] = ETHERTYPE_VLAN >> 8;
	tag[1] = ETHERTYPE_VLAN & 0xff;
	tag[2] = (uint8_t)(port->request.vlan >> 8);
	tag[3] = (uint8_t)port->request.vlan;
}

static int check_vlan(const struct port_request *request, struct failure *f)
{
	if (!request->vlan)
		return 0;
	if (request->vlan > 4094)
		return fail(f, STATUS_INVALID, "VLAN %u; there are 1 to 4094", request->vlan);
	if (request->kind != PORT_PACKET && request->kind != PORT_ETHDEV)
		return fail(f, STATUS_INVALID, "VLAN %u: only packet sockets and devices have VLANs", request->vlan);
	return 0;
}

static int check_name(const struct port_request *request, struct failure *f)
{
	const char *name = request->name;

	if (!name[0])
		return fail(f, STATUS_INVALID, "a port needs the name of an interface or a device");
	if (request->kind != PORT_ETHDEV && (strlen(name) >= IFNAMSIZ || strpbrk(name, "/% \t")))
		return fail(f, STATUS_INVALID, "'%s' can not be the name of an interface", name);
	return 0;
}

static int open_kind(struct port *port, struct failure *f)
{
	switch (port->request.kind) {
	case PORT_MEMORY:
		port->ops = &memory_ops;
		return 0;
	case PORT_TAP:
		return check_name(&port->request, f) || in_namespace(port->request.netns, port_open_tap, port, f) ? -1 : 0;
	case PORT_PACKET:
		return check_name(&port->request, f) || in_namespace(port->request.netns, port_open_packet, port, f) ? -1 : 0;
	case PORT_ETHDEV:
		return check_name(&port->request, f) || port_open_ethdev(port, f) ? -1 : 0;
	}
	return fail(f, STATUS_INVALID, "port kind %d is not known", port->request.kind);
}

struct port *port_open(const struct port_request *request, struct failure *f)
{
	struct port *port = calloc(1, sizeof(*port));

	if (!port) {
		fail(f, STATUS_SYSTEM, "no memory for a port");
		return NULL;
	}
	port->request = *request;
	port->fd = -1;
	if (request->mtu > 9000)
		fail(f, STATUS_INVALID, "an MTU of %u; at most 9000 bytes fit", request->mtu);
	else if (!check_vlan(request, f) && !open_kind(port, f))
		return port;
	if (port->fd >= 0)
		close(port->fd);
	free(port);
	return NULL;
}

void port_close(struct port *port, bool remove)
{
	port->ops->close(port, remove);
	if (port->fd >= 0)
		close(port->fd);
	free(port);
}
