/* SPDX-License-Identifier: Apache-2.0
 *
 * The numbers of the engine's protocol. docs/engine-protocol.md describes the messages.
 */
#ifndef PROTOCOL_H
#define PROTOCOL_H

/* 2: VLANs of ports. 3: meters. 4: whether the program is machine code. */
#define PROTOCOL_VERSION 4
/* Length of the body, operation, status, two bytes of zeros, id of the request. */
#define FRAME_HEADER 12
#define FRAME_BODY_MAX (32u << 20)
#define SPEC_MAX (4u << 20)
#define BLOB_MAX (16u << 20)
#define REPLY_PART_MAX (1u << 20)
#define PATH_SIZE 256
/* Highest number of port slots that --slots takes. */
#define SLOTS_MAX 4096
/* Bytes of a frame on the wire without its checksum: MTU 9000 with Ethernet and two VLAN tags, rounded up. */
#define WIRE_MAX 9216

enum operation {
	OP_HELLO = 1,
	OP_LOAD = 2,
	OP_ACTIVATE = 3,
	OP_DESCRIBE = 4,
	OP_PROGRAM = 5,
	OP_WRITE = 6,
	OP_READ_ENTRIES = 7,
	OP_READ_DEFAULT = 8,
	OP_READ_GROUPS = 9,
	OP_READ_REGISTERS = 10,
	OP_READ_LEARNED = 11,
	OP_FLUSH_LEARNED = 12,
	OP_TABLE_STATS = 13,
	OP_ENGINE_STATS = 14,
	OP_ATTACH = 15,
	OP_DETACH = 16,
	OP_PORTS = 17,
	OP_INJECT = 18,
	OP_IDLE = 19,
	OP_BENCH = 20,
	OP_QUIT = 21,
	OP_READ_METERS = 22,
};

enum status {
	STATUS_OK = 0,
	/* Malformed, or names what is not there. */
	STATUS_INVALID = 1,
	STATUS_NOT_FOUND = 2,
	STATUS_EXISTS = 3,
	STATUS_FULL = 4,
	/* The .spec is wrong; the words have the line. */
	STATUS_SPEC = 5,
	STATUS_NO_PROGRAM = 6,
	STATUS_UNSUPPORTED = 7,
	/* The machine refused: an interface, a namespace, memory. */
	STATUS_SYSTEM = 8,
};

enum which {
	WHICH_RUNNING = 0,
	WHICH_STAGED = 1,
};

/* Kinds of operations in a transaction. */
enum change {
	CHANGE_ADD = 1,
	CHANGE_MODIFY = 2,
	CHANGE_PUT = 3,
	CHANGE_DELETE = 4,
	CHANGE_DEFAULT = 5,
	CHANGE_GROUP = 6,
	CHANGE_REGISTER = 7,
	CHANGE_METER = 8,
};

/* Tables and learners share default actions: a learner's number has this bit. */
#define LEARNER_BIT 0x8000u

enum port_kind {
	PORT_TAP = 1,
	PORT_PACKET = 2,
	PORT_ETHDEV = 3,
	/* Nothing behind it: packets come by OP_INJECT. */
	PORT_MEMORY = 4,
};

#define ATTACH_PERSIST 1
/* Bring the interface up. */
#define ATTACH_UP 2
/* The message ends with the number of a VLAN: frames have its tag outside, and none inside the engine. */
#define ATTACH_VLAN 4
#define DETACH_REMOVE 1

enum idle_mode {
	IDLE_SLEEP = 0,
	IDLE_ADAPTIVE = 1,
	IDLE_SPIN = 2,
};

#endif
