import { parseP4InfoText } from '../../../../src/p4info/text-format';

/**
 * A pipeline with one of everything that the server knows, in the way that p4c's DPDK backend writes it: prefixes
 * dropped, actions copied for each table, counters as register arrays. Packets: ethernet, `type` is the exact key.
 */
export const SPEC = `
struct ethernet_h {
	bit<48> dst
	bit<48> src
	bit<16> type
}
struct send_arg_t {
	bit<32> port
	bit<16> tag
}
struct send_1_arg_t {
	bit<32> port
	bit<16> tag
}
struct send_2_arg_t {
	bit<32> port
	bit<16> tag
}
header ethernet instanceof ethernet_h
struct metadata_t {
	bit<32> input_port
	bit<32> output_port
	bit<48> dst
	bit<48> src
	bit<16> tag
	bit<16> twelve
	bit<8> timeout
}
metadata instanceof metadata_t

regarray hits_0_packets size 0x8 initval 0x0
regarray hits_0_bytes size 0x8 initval 0x0
regarray drops_0 size 0x4 initval 0x0
regarray marks_0 size 0x4 initval 0

action NoAction args none {
	return
}
action drop args none {
	regadd drops_0 0x0 1
	drop
	return
}
action drop_1 args none {
	drop
	return
}
action send args instanceof send_arg_t {
	mov m.output_port t.port
	mov m.tag t.tag
	regadd hits_0_packets 0x3 1
	return
}
action send_1 args instanceof send_1_arg_t {
	mov m.output_port t.port
	mov m.tag t.tag
	return
}
action send_2 args instanceof send_2_arg_t {
	mov m.output_port t.port
	mov m.tag t.tag
	return
}
action flow_hit args none {
	return
}
action flow_miss args none {
	mov m.timeout 0x3
	learn flow_hit m.timeout
	return
}

table by_type {
	key {
		h.ethernet.type exact
	}
	actions {
		send
		drop
		NoAction @defaultonly
	}
	default_action NoAction args none
	size 0x10000
}
table by_prefix {
	key {
		m.dst lpm
		m.input_port exact
	}
	actions {
		send_1
		NoAction @defaultonly
	}
	default_action NoAction args none const
	size 0x10000
}
table by_mask {
	key {
		m.src wildcard
		m.twelve wildcard
		m.tag exact
	}
	actions {
		send_2
		drop_1
	}
	default_action drop_1 args none
	size 0x10000
}
table always {
	key {
	}
	actions {
		NoAction
		drop_1
	}
	default_action NoAction args none
	size 0x1
}
learner flows {
	key {
		h.ethernet.dst
		h.ethernet.src
	}
	actions {
		flow_hit @tableonly
		flow_miss @defaultonly
	}
	default_action flow_miss args none
	size 0x100
	timeout {
		10
		30
		60
		120
		300
		43200
		120
		120
	}
}

apply {
	rx m.input_port
	mov m.output_port 0x0
	extract h.ethernet
	table flows
	table by_type
	emit h.ethernet
	tx m.output_port
}
`;

const ids = {
  byType: 0x02000001,
  byPrefix: 0x02000002,
  byMask: 0x02000003,
  always: 0x02000004,
  flows: 0x02000005,
  noAction: 0x01000001,
  drop: 0x01000002,
  send: 0x01000003,
  flowHit: 0x01000004,
  flowMiss: 0x01000005,
  hits: 0x12000001,
  drops: 0x12000002,
  marks: 0x16000001,
} as const;
export const ID = ids;

export const P4INFO_TEXT = `
pkg_info { arch: "pna" }
tables {
  preamble { id: ${ids.byType} name: "Main.by_type" alias: "by_type" }
  match_fields { id: 1 name: "h.ethernet.type" bitwidth: 16 match_type: EXACT }
  action_refs { id: ${ids.send} }
  action_refs { id: ${ids.drop} }
  action_refs { id: ${ids.noAction} scope: DEFAULT_ONLY }
  size: 8
}
tables {
  preamble { id: ${ids.byPrefix} name: "Main.by_prefix" alias: "by_prefix" }
  match_fields { id: 1 name: "h.ethernet.dst" bitwidth: 48 match_type: LPM }
  match_fields { id: 2 name: "m.input_port" bitwidth: 32 match_type: EXACT }
  action_refs { id: ${ids.send} }
  action_refs { id: ${ids.noAction} scope: DEFAULT_ONLY }
  const_default_action_id: ${ids.noAction}
  size: 1024
}
tables {
  preamble { id: ${ids.byMask} name: "Main.by_mask" alias: "by_mask" }
  match_fields { id: 1 name: "h.ethernet.src" bitwidth: 48 match_type: TERNARY }
  match_fields { id: 2 name: "m.twelve" bitwidth: 12 match_type: OPTIONAL }
  match_fields { id: 3 name: "m.tag" bitwidth: 16 match_type: EXACT }
  action_refs { id: ${ids.send} scope: TABLE_ONLY }
  action_refs { id: ${ids.drop} }
  size: 5000
}
tables {
  preamble { id: ${ids.always} name: "Main.always" alias: "always" }
  action_refs { id: ${ids.noAction} }
  action_refs { id: ${ids.drop} }
  size: 1
}
tables {
  preamble { id: ${ids.flows} name: "Main.flows" alias: "flows" }
  match_fields { id: 1 name: "h.ethernet.dst" bitwidth: 48 match_type: EXACT }
  match_fields { id: 2 name: "h.ethernet.src" bitwidth: 48 match_type: EXACT }
  action_refs { id: ${ids.flowHit} scope: TABLE_ONLY }
  action_refs { id: ${ids.flowMiss} scope: DEFAULT_ONLY }
  size: 256
}
actions { preamble { id: ${ids.noAction} name: "NoAction" alias: "NoAction" } }
actions { preamble { id: ${ids.drop} name: "Main.drop" alias: "drop" } }
actions {
  preamble { id: ${ids.send} name: "Main.send" alias: "send" }
  params { id: 1 name: "port" bitwidth: 32 }
  params { id: 2 name: "tag" bitwidth: 12 }
}
actions { preamble { id: ${ids.flowHit} name: "Main.flow_hit" alias: "flow_hit" } }
actions { preamble { id: ${ids.flowMiss} name: "Main.flow_miss" alias: "flow_miss" } }
counters { preamble { id: ${ids.hits} name: "Main.hits" alias: "hits" } spec { unit: BOTH } size: 8 }
counters { preamble { id: ${ids.drops} name: "Main.drops" alias: "drops" } spec { unit: PACKETS } size: 4 }
registers {
  preamble { id: ${ids.marks} name: "Main.marks" alias: "marks" }
  type_spec { bitstring { bit { bitwidth: 48 } } }
  size: 4
}
`;

export const P4INFO = parseP4InfoText(P4INFO_TEXT);

export const METER_ID = 335544321;
/** To go with P4INFO_TEXT and SPEC_WITH_METERS. */
export const METERS_TEXT = `
meters { preamble { id: ${METER_ID} name: "Main.limits" alias: "limits" } spec { unit: BYTES } size: 4 }
`;
export const SPEC_WITH_METERS = SPEC.replace(
  'regarray marks_0',
  'metarray limits_0 size 0x4\nregarray marks_0',
);
