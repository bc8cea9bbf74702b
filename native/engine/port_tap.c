/* SPDX-License-Identifier: Apache-2.0
 *
 * A TAP interface: what the kernel sends on it is what comes in here. Opened in a pod's namespace it is the pod's eth0; in
 * the engine's own, the way to the host's stack. Without a virtio header the kernel leaves no checksum and no segmentation
 * to us, so packets are complete.
 */
#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int tap_receive(struct port *port, uint8_t *data)
{
	ssize_t length = read(port->fd, data, WIRE_MAX);

	if (length >= 0)
		return (int)length;
	return interface_is_gone(errno) ? -1 : 0;
}

static bool tap_transmit(struct port *port, const uint8_t *data, uint32_t length)
{
	return write(port->fd, data, length) == (ssize_t)length;
}

static void tap_close(struct port *port, bool remove)
{
	if (remove && port->fd >= 0)
		ioctl(port->fd, TUNSETPERSIST, 0);
}

static const struct port_ops tap_ops = { tap_receive, tap_transmit, tap_close, NULL };

int port_open_tap(struct port *port, struct failure *f)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	const char *name = port->request.name;

	port->ops = &tap_ops;
	port->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (port->fd < 0)
		return fail(f, STATUS_SYSTEM, "/dev/net/tun: %s", strerror(errno));
	memcpy(r.ifr_name, name, IFNAMSIZ - 1);
	if (ioctl(port->fd, TUNSETIFF, &r))
		return fail(f, STATUS_SYSTEM, "TAP %s can not be opened: %s", name, strerror(errno));
	if (interface_set_up(&port->request, f))
		return -1;
	/* Last: an interface that was made in vain goes with its descriptor. */
	if (ioctl(port->fd, TUNSETPERSIST, port->request.flags & ATTACH_PERSIST ? 1 : 0))
		return fail(f, STATUS_SYSTEM, "TAP %s can not be made persistent: %s", name, strerror(errno));
	return 0;
}
