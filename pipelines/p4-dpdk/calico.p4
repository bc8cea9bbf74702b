// SPDX-License-Identifier: Apache-2.0
// calico-p4's pipeline for P4-DPDK: docs/pipeline.md describes every table with example rows.
//
// Five traps of p4c's DPDK backend and of SWX rule how this is written:
//  - copy propagation does not see what the actions of tables write. A field that actions write is never written in
//    apply; defaults are set by miss actions.
//  - metadata keeps the last packet's values. Every field is written on every path before it is read.
//  - a chain of moves in one action (a = b; b = c;) is folded into the last one: no action reads what it has written
//    or goes on to write what it has read.
//  - headers that are not valid keep old bytes. They are read under isValid() only.
//  - of `a == 0 && b < C` the comparison of b is lost. Such a test stands in an `if` of its own.
//
// Every instruction of a packet's way costs some nanoseconds, so the way of an established TCP or UDP packet is the
// short one. What p4c makes of it:
//  - `if (a < b) {} else {}` and `if (a != b) {} else {}` are one jump for the else branch; the frequent case stands there.
//    `if (a >= b) {}` and `if (a == b) {}` are one instruction, `if (a < b) {}` and `if (t.apply().miss) {}` two.
//  - an expression in a variable is computed again at every use. A cast to fewer bits costs seven moves.
//  - header fields of unequal width move in one instruction in the parser; in the control a cast is one more.

#include <core.p4>
#include <dpdk/pna.p4>
#include "headers.p4"
#include "parser.p4"

const bit<8> SIDE_POD = 1;
const bit<8> SIDE_UPLINK = 2;
const bit<8> SIDE_HOST = 3;
const bit<8> SIDE_DISABLED = 4;     // a pod whose endpoint is not active
const bit<8> SIDE_NONE = 5;
const bit<8> SIDE_FLOATING = 6;     // `local` has another address to go on with

// Where a program is asked, the key field `direction` of endpoint_root. From 3 on those of the uplink, whose endpoint is 0.
const bit<8> STAGE_NONE = 0;
const bit<8> STAGE_INGRESS = 1;
const bit<8> STAGE_EGRESS = 2;
const bit<8> STAGE_UNTRACKED_IN = 3;
const bit<8> STAGE_UNTRACKED_OUT = 4;
const bit<8> STAGE_PRE_DNAT = 5;
const bit<8> STAGE_HOST_IN = 6;
const bit<8> STAGE_HOST_OUT = 7;
const bit<8> STAGE_FORWARD_IN = 8;
const bit<8> STAGE_FORWARD_OUT = 9;
const bit<8> STAGE_FORWARD_OTHER = 10;
const bit<8> STAGE_EGRESS_TO_HOST = 11;
// At tunnels, where only the host endpoint of all interfaces has a say.
const bit<8> STAGE_TUNNEL_PRE_DNAT = 12;
const bit<8> STAGE_TUNNEL_HOST_IN = 13;
const bit<8> STAGE_TUNNEL_HOST_OUT = 14;
const bit<8> STAGE_TUNNEL_FORWARD_IN = 15;
const bit<8> STAGE_TUNNEL_FORWARD_OUT = 16;

// What a route says about the next hop. NONE: no route; BLACKHOLE: the address is of the cluster, and nobody has it.
const bit<8> HOP_NONE = 0;
const bit<8> HOP_BLACKHOLE = 0xff;

// The endpoint id, in the key of a connection, of what is behind the kernel: a connection that goes by there is not one with the same
// addresses that does not.
const bit<32> EP_KERNEL = 0xffffffff;

// What the packet is for connection tracking.
const bit<8> KIND_ARP = 0;          // these two ask about neighbours on the link
const bit<8> KIND_DISCOVERY = 1;
const bit<8> KIND_LATER = 2;        // a later fragment, whose first one decides
const bit<8> KIND_ICMP = 3;         // queries, their answers, and errors
const bit<8> KIND_OPENS = 4;        // asks for a new connection (SYN, INIT): never established
const bit<8> KIND_FOLLOWS = 5;      // never the first packet of a connection
const bit<8> KIND_EITHER = 6;

// What becomes of a packet that has a way: through here it is a hop, or from or to the host.
const bit<8> WAY_NONE = 0;
const bit<8> WAY_HOST = 1;
const bit<8> WAY_ROUTED = 2;

// Why a packet was dropped (below 16, 24 and 26) or may pass; the index of the counter `reasons`. 0 and 1 stand in parser.p4.
const bit<8> REASON_PORT = 2;
const bit<8> REASON_SOURCE = 3;
const bit<8> REASON_ROUTE = 4;
const bit<8> REASON_INVALID = 5;
const bit<8> REASON_FRAGMENT = 6;
const bit<8> REASON_EGRESS = 7;
const bit<8> REASON_INGRESS = 8;
const bit<8> REASON_HOST = 9;
const bit<8> REASON_SOURCE_DISABLED = 10;
const bit<8> REASON_TARGET_DISABLED = 11;
const bit<8> REASON_LABELS = 12;
const bit<8> REASON_MAC = 13;
const bit<8> REASON_NEIGHBOUR = 14;
const bit<8> REASON_STACK = 15;
const bit<8> PASSED_NEW = 16;
const bit<8> PASSED_ESTABLISHED = 17;
const bit<8> PASSED_RELATED = 18;
const bit<8> PASSED_FRAGMENT = 19;
const bit<8> PASSED_HOST = 20;
const bit<8> PASSED_TTL = 21;
const bit<8> PASSED_TOO_BIG = 22;
const bit<8> PASSED_ANSWERED = 23;
const bit<8> REASON_HOST_POLICY = 24;
const bit<8> PASSED_UNTRACKED = 25;
const bit<8> REASON_LIMIT = 26;
const bit<8> REASON_TRANSLATION = 27;
const bit<8> REASON_TUNNEL = 28;
// No reason: the packet came in a tunnel, and is looked at a second time without it.
const bit<8> REASON_AGAIN = 0xff;

// Of the sender's extras.
const bit<32> MARK_DSCP = 0x80000000;
const bit<32> LIMIT_NUMBER = 0x000007ff;

// A node id from here on is a leaf, which denies, from NODE_UNMATCHED on one that leaves the packet to others, from NODE_ALLOW on
// one that allows; the low bits are the outcome (docs/design.md).
const bit<32> NODE_LEAF = 0x80000000;
const bit<32> NODE_UNMATCHED = 0xa0000000;
const bit<32> NODE_ALLOW = 0xc0000000;
const bit<32> NODE_OUTCOME = 0x1fffffff;

const bit<8> LEARN_NEVER = 0;
const bit<8> LEARN_ALWAYS = 1;
const bit<8> LEARN_ESTABLISHED = 2;

// What a lookup of `ct` is for.
const bit<8> FIND = 0;
const bit<8> LEARN = 1;
const bit<8> LEARN_FLOATING = 2;

// What a hit does to the entry's timer.
const bit<8> TIMER_RESTART = 0;
const bit<8> TIMER_SET = 1;
const bit<8> TIMER_LEAVE = 2;

// p4c fixes the eight lifetimes of a learner: 10, 30, 60, 120, 300, 43200, 120, 120 seconds.
const ExpireTimeProfileId_t LIFETIME_10S = (ExpireTimeProfileId_t) 0;
const ExpireTimeProfileId_t LIFETIME_30S = (ExpireTimeProfileId_t) 1;
const ExpireTimeProfileId_t LIFETIME_120S = (ExpireTimeProfileId_t) 3;
const ExpireTimeProfileId_t LIFETIME_300S = (ExpireTimeProfileId_t) 4;
const ExpireTimeProfileId_t LIFETIME_12H = (ExpireTimeProfileId_t) 5;

struct empty_t {}
struct floating_ip_t {
    bit<64> hi;
    bit<64> lo;
    bit<32> ipv4;
}

control PreControl(in headers_t h, inout metadata_t m, in pna_pre_input_metadata_t istd, inout pna_pre_output_metadata_t ostd) {
    apply {}
}

control MainControl(inout headers_t h, inout metadata_t m, in pna_main_input_metadata_t istd, inout pna_main_output_metadata_t ostd) {
    Counter<bit<64>, bit<32>>(65536, PNA_CounterType_t.PACKETS) outcomes;
    Counter<bit<64>, bit<32>>(32, PNA_CounterType_t.PACKETS) reasons;
    InternetChecksum() checksum;
    Meter<bit<32>>(2048, PNA_MeterType_t.PACKETS) packet_limits;
    Meter<bit<32>>(2048, PNA_MeterType_t.BYTES) byte_limits;

    // ---- where the packet comes from -------------------------------------------------------------------------
    // mac: what frames from there must be addressed to, and what answers about neighbours name. port: where those
    // answers go, which is the port itself. A packet that is no answer gets its port from local, default_route or
    // host_stack, or is dropped.
    action from_pod(bit<32> ep, bit<48> mac, PortId_t port, bit<32> extras) {
        send_to_port(port);
        h.flow.extras = extras;
        m.source = SIDE_POD;
        h.flow.src_ep = ep;
        m.mac = mac;
    }
    action from_uplink(bit<48> mac, PortId_t port) {
        send_to_port(port);
        h.flow.extras = 0;
        m.source = SIDE_UPLINK;
        h.flow.src_ep = 0;
        m.mac = mac;
    }
    action from_host(bit<48> mac, PortId_t port) {
        send_to_port(port);
        h.flow.extras = 0;
        m.source = SIDE_HOST;
        h.flow.src_ep = 0;
        m.mac = mac;
    }
    action from_disabled() {
        m.source = SIDE_DISABLED;
        h.flow.src_ep = 0;
        m.mac = 0;
    }
    action from_unknown() {
        m.source = SIDE_NONE;
        h.flow.src_ep = 0;
        m.mac = 0;
    }
    table port_in {
        key = { istd.input_port : exact @name("port"); }
        actions = { from_pod; from_uplink; from_host; from_disabled; @defaultonly from_unknown; }
        default_action = from_unknown;
        size = 1024;
    }

    action source_ok() {}
    action source_miss() {}
    table pod_source {
        key = { h.flow.src_ep : exact @name("ep"); h.flow.src_hi : exact @name("hi"); h.flow.src_lo : exact @name("lo"); }
        actions = { source_ok; @defaultonly source_miss; }
        default_action = source_miss;
        size = 8192;
    }
    action source_prefix_ok() {}
    action source_prefix_miss() {}
    table pod_source_prefix {
        key = { h.flow.src_ep : exact @name("ep"); h.flow.src_hi : ternary @name("hi"); h.flow.src_lo : ternary @name("lo"); }
        actions = { source_prefix_ok; @defaultonly source_prefix_miss; }
        default_action = source_prefix_miss;
        size = 1024;
    }
    action own_address() {
        m.own = 1;
    }
    action foreign_address() {
        m.own = 0;
    }
    table host_address {
        key = { h.flow.src_hi : exact @name("hi"); h.flow.src_lo : exact @name("lo"); }
        actions = { own_address; @defaultonly foreign_address; }
        default_action = foreign_address;
        size = 256;
    }

    // ---- where it goes -----------------------------------------------------------------------------------------
    // dst, src: MAC addresses of the frame that leaves. mtu: the largest IP packet that the way takes.
    action to_pod(PortId_t port, bit<32> ep, bit<48> dst, bit<48> src, bit<32> mtu, bit<32> limit) {
        send_to_port(port);
        h.flow.limit_to = limit;
        h.ethernet.dst = dst;
        h.ethernet.src = src;
        m.mtu = mtu;
        m.target = SIDE_POD;
        h.flow.dst_ep = ep;
    }
    action to_host(PortId_t port, bit<8> from_pods, bit<48> dst, bit<48> src) {
        send_to_port(port);
        h.ethernet.dst = dst;
        h.ethernet.src = src;
        m.target = SIDE_HOST;
        h.flow.dst_ep = 0;
        m.host_from_pods = from_pods;
    }
    action to_disabled() {
        m.target = SIDE_DISABLED;
        h.flow.dst_ep = 0;
    }
    // A floating IP of a pod: the packet goes to the pod's own address.
    action to_floating(bit<64> hi, bit<64> lo, bit<32> ipv4, bit<64> back_hi, bit<64> back_lo, bit<32> back_ipv4) {
        m.target = SIDE_FLOATING;
        h.translation.setValid();
        h.floating.setValid();
        h.floating.hi = hi;
        h.floating.lo = lo;
        h.floating.ipv4 = ipv4;
        h.floating.back_hi = back_hi;
        h.floating.back_lo = back_lo;
        h.floating.back_ipv4 = back_ipv4;
    }
    action not_local() {
        m.target = SIDE_NONE;
        h.flow.dst_ep = 0;
    }
    table local {
        key = { h.flow.dst_hi : exact @name("hi"); h.flow.dst_lo : exact @name("lo"); }
        actions = { to_pod; to_host; to_disabled; to_floating; @defaultonly not_local; }
        default_action = not_local;
        size = 8192;
    }
    action to_uplink(PortId_t port, bit<48> dst, bit<48> src, bit<32> mtu) {
        send_to_port(port);
        h.flow.limit_to = 0;
        h.ethernet.dst = dst;
        h.ethernet.src = src;
        m.mtu = mtu;
        m.target = SIDE_UPLINK;
    }
    action no_route() {
        m.target = SIDE_NONE;
    }
    table default_route {
        key = { m.source : exact @name("source"); }
        actions = { to_uplink; @defaultonly no_route; }
        default_action = no_route;
        size = 16;
    }

    // What a pod's packets out of the cluster get: tos is the DSCP in the place that it has in the type of service, traffic_class the same
    // in the first word of IPv6.
    action set_dscp(bit<8> tos, bit<32> traffic_class) {
        h.dscp.tos = tos;
        h.dscp.traffic_class = traffic_class;
    }
    action no_dscp() {}
    table pod_dscp {
        key = { h.flow.src_ep : exact @name("ep"); }
        actions = { set_dscp; @defaultonly no_dscp; }
        default_action = no_dscp;
        size = 1024;
    }
    // The same of what the node itself sends, by its source address.
    table host_dscp {
        key = { h.flow.src_hi : exact @name("hi"); h.flow.src_lo : exact @name("lo"); }
        actions = { set_dscp; @defaultonly no_dscp; }
        default_action = no_dscp;
        size = 64;
    }
    // Addresses of the cluster: what goes there keeps its DSCP.
    action in_pool() {}
    action in_no_pool() {}
    table cluster_pools {
        key = { h.flow.dst_hi : ternary @name("hi"); h.flow.dst_lo : ternary @name("lo"); }
        actions = { in_pool; @defaultonly in_no_pool; }
        default_action = in_no_pool;
        size = 256;
    }

    // ---- routes to other nodes --------------------------------------------------------------------------------
    // The next hop is known by its address, and by what leads to it (kind: 1 the link, 2 VXLAN, 3 IPIP, 4 a tunnel of the
    // kernel's), so that a route does not depend on numbers.
    action via(bit<8> kind, bit<64> hop_hi, bit<64> hop_lo) {
        h.hop.kind = kind;
        h.hop.hop_hi = hop_hi;
        h.hop.hop_lo = hop_lo;
    }
    action blackhole() {
        h.hop.kind = HOP_BLACKHOLE;
    }
    action no_remote_address() {}
    table remote_address {
        key = { h.flow.dst_hi : exact @name("dst_hi"); h.flow.dst_lo : exact @name("dst_lo"); }
        actions = { via; blackhole; @defaultonly no_remote_address; }
        default_action = no_remote_address;
        size = 8192;
    }
    action block_via(bit<8> kind, bit<64> hop_hi, bit<64> hop_lo) {
        h.hop.kind = kind;
        h.hop.hop_hi = hop_hi;
        h.hop.hop_lo = hop_lo;
    }
    action block_blackhole() {
        h.hop.kind = HOP_BLACKHOLE;
    }
    action no_remote_block() {
        h.hop.kind = HOP_NONE;
    }
    table remote_block {
        key = { h.flow.dst_hi : ternary @name("hi"); h.flow.dst_lo : ternary @name("lo"); }
        actions = { block_via; block_blackhole; @defaultonly no_remote_block; }
        default_action = no_remote_block;
        size = 8192;
    }
    action to_link(PortId_t port, bit<48> dst, bit<48> src, bit<32> mtu) {
        send_to_port(port);
        h.flow.limit_to = 0;
        h.ethernet.dst = dst;
        h.ethernet.src = src;
        m.mtu = mtu;
        m.target = SIDE_UPLINK;
    }
    // dst, src: of the frame that leaves; inner_dst, inner_src: of the frame within; mtu: the largest packet that fits into the tunnel.
    action to_vxlan4(PortId_t port, bit<48> dst, bit<48> src, bit<32> src_ip, bit<32> dst_ip, bit<32> vni, bit<16> dport, bit<48> inner_dst, bit<48> inner_src, bit<32> mtu) {
        send_to_port(port);
        h.flow.limit_to = 0;
        h.translation.setValid();
        h.tunnelled.setValid();
        h.link.setValid();
        h.link.dst = dst;
        h.link.src = src;
        h.outer4.setValid();
        h.outer4.src = src_ip;
        h.outer4.dst = dst_ip;
        h.vxlan.setValid();
        h.vxlan.dport = dport;
        h.vxlan.vni = vni << 8;
        h.ethernet.dst = inner_dst;
        h.ethernet.src = inner_src;
        m.mtu = mtu;
        m.target = SIDE_UPLINK;
    }
    action to_vxlan6(PortId_t port, bit<48> dst, bit<48> src, bit<64> src_hi, bit<64> src_lo, bit<64> dst_hi, bit<64> dst_lo, bit<32> vni, bit<16> dport, bit<48> inner_dst, bit<48> inner_src, bit<32> mtu) {
        send_to_port(port);
        h.flow.limit_to = 0;
        h.translation.setValid();
        h.tunnelled.setValid();
        h.link.setValid();
        h.link.dst = dst;
        h.link.src = src;
        h.outer6.setValid();
        h.outer6.src_hi = src_hi;
        h.outer6.src_lo = src_lo;
        h.outer6.dst_hi = dst_hi;
        h.outer6.dst_lo = dst_lo;
        h.vxlan.setValid();
        h.vxlan.dport = dport;
        h.vxlan.vni = vni << 8;
        h.ethernet.dst = inner_dst;
        h.ethernet.src = inner_src;
        m.mtu = mtu;
        m.target = SIDE_UPLINK;
    }
    action to_ipip(PortId_t port, bit<48> dst, bit<48> src, bit<32> src_ip, bit<32> dst_ip, bit<32> mtu) {
        send_to_port(port);
        h.flow.limit_to = 0;
        h.translation.setValid();
        h.tunnelled.setValid();
        h.link.setValid();
        h.link.dst = dst;
        h.link.src = src;
        h.outer4.setValid();
        h.outer4.src = src_ip;
        h.outer4.dst = dst_ip;
        m.mtu = mtu;
        m.target = SIDE_UPLINK;
    }
    // The kernel has the tunnel: it looks at size and time to live.
    action to_stack_hop(PortId_t port, bit<48> dst, bit<48> src) {
        send_to_port(port);
        h.tunnelled.setValid();
        h.kernel.setValid();
        h.ethernet.dst = dst;
        h.ethernet.src = src;
        m.host_from_pods = 1;
        m.target = SIDE_HOST;
    }
    action no_hop() {
        m.target = SIDE_NONE;
    }
    table next_hop {
        key = { h.hop.kind : exact @name("kind"); h.hop.hop_hi : exact @name("hop_hi"); h.hop.hop_lo : exact @name("hop_lo"); }
        actions = { to_link; to_vxlan4; to_vxlan6; to_ipip; to_stack_hop; @defaultonly no_hop; }
        default_action = no_hop;
        size = 8192;
    }
    // What leaves the pools of these sources gets the node's address: the kernel does that.
    action masquerade(PortId_t port, bit<48> dst, bit<48> src) {
        send_to_port(port);
        h.kernel.setValid();
        h.ethernet.dst = dst;
        h.ethernet.src = src;
        m.host_from_pods = 1;
        m.target = SIDE_HOST;
    }
    action keep_source() {}
    table masquerade_pools {
        key = { h.flow.src_hi : ternary @name("hi"); h.flow.src_lo : ternary @name("lo"); }
        actions = { masquerade; @defaultonly keep_source; }
        default_action = keep_source;
        size = 256;
    }

    // ---- tunnels that end here ---------------------------------------------------------------------------------
    action ends_here(bit<48> mac, bit<48> inner_mac, bit<32> vni) {
        h.tunnel.mac = mac;
        h.tunnel.inner_mac = inner_mac;
        h.tunnel.vni = vni << 8;
    }
    action no_tunnel() {}
    table tunnel_here {
        key = {
            h.flow.port : exact @name("port");
            h.flow.dst_hi : exact @name("dst_hi");
            h.flow.dst_lo : exact @name("dst_lo");
            h.flow.proto : exact @name("proto");
            h.flow.dport : exact @name("dport");
        }
        actions = { ends_here; @defaultonly no_tunnel; }
        default_action = no_tunnel;
        size = 64;
    }
    action peer() {}
    action stranger() {}
    table tunnel_peer {
        key = { h.tunnel.src_hi : exact @name("src_hi"); h.tunnel.src_lo : exact @name("src_lo"); h.tunnel.proto : exact @name("proto"); }
        actions = { peer; @defaultonly stranger; }
        default_action = stranger;
        size = 8192;
    }

    // A packet that can not be routed because its time is over or it is too big: the host's stack makes the ICMP error.
    action to_stack(PortId_t port, bit<48> dst, bit<48> src) {
        send_to_port(port);
        h.ethernet.dst = dst;
        h.ethernet.src = src;
    }
    action no_stack() {}
    table host_stack {
        key = { m.source : exact @name("source"); m.target : exact @name("target"); }
        actions = { to_stack; @defaultonly no_stack; }
        default_action = no_stack;
        size = 16;
    }

    // Whether policy judges, by where they come from, packets that can not be the first of a connection and belong to none.
    action let_judge() {}
    action not_judged() {}
    table invalid {
        key = { m.source : exact @name("source"); }
        actions = { let_judge; @defaultonly not_judged; }
        default_action = not_judged;
        size = 16;
    }

    // ---- connections and fragments -----------------------------------------------------------------------------
    // An entry says: a packet with these two ends, in this order, was let through. A packet is established if the
    // entry of the opposite order exists: Calico's Linux dataplanes too call a connection established only when
    // both directions have been seen. Endpoint ids are part of the key, so that a new pod does not inherit the
    // connections of the one that had its address before.
    action ct_hit() {
        if (m.timer == TIMER_RESTART) {
            restart_expire_timer();
        } else if (m.timer == TIMER_SET) {
            set_entry_expire_time(m.lifetime);
        }
    }
    // The packet that made the entry was sent to this floating IP: answers come from there.
    action ct_floating(bit<64> hi, bit<64> lo, bit<32> ipv4) {
        h.translation.setValid();
        if (m.learn == FIND) {
            h.answer.setValid();
            h.answer.hi = hi;
            h.answer.lo = lo;
            h.answer.ipv4 = ipv4;
        } else {
            h.own.setValid();
            h.own.hi = hi;
            h.own.lo = lo;
        }
        if (m.timer == TIMER_RESTART) {
            restart_expire_timer();
        } else if (m.timer == TIMER_SET) {
            set_entry_expire_time(m.lifetime);
        }
    }
    action ct_miss() {
        if (m.learn == LEARN) {
            add_entry(action_name = "ct_hit", action_params = (empty_t) {}, expire_time_profile_id = m.lifetime);
        } else if (m.learn == LEARN_FLOATING) {
            add_entry(action_name = "ct_floating", action_params = (floating_ip_t) { h.floating.was_hi, h.floating.was_lo, h.floating.was_ipv4 }, expire_time_profile_id = m.lifetime);
        }
    }
    table ct {
        key = {
            h.connection.src_hi : exact @name("src_hi");
            h.connection.src_lo : exact @name("src_lo");
            h.connection.dst_hi : exact @name("dst_hi");
            h.connection.dst_lo : exact @name("dst_lo");
            h.connection.src_ep : exact @name("src_ep");
            h.connection.dst_ep : exact @name("dst_ep");
            h.connection.sport : exact @name("sport");
            h.connection.dport : exact @name("dport");
            h.connection.proto : exact @name("proto");
        }
        actions = { @tableonly ct_hit; @tableonly ct_floating; @defaultonly ct_miss; }
        const default_action = ct_miss;
        add_on_miss = true;
        idle_timeout_with_auto_delete = true;
        size = 262144;
    }

    // A first fragment that was let through opens the way for the others of its packet (same ends, protocol, id).
    action fragment_hit() {
        restart_expire_timer();
    }
    action fragment_floating(bit<64> hi, bit<64> lo, bit<32> ipv4) {
        restart_expire_timer();
        h.translation.setValid();
        if (m.fragment == FRAGMENT_LATER) {
            h.answer.setValid();
            h.answer.hi = hi;
            h.answer.lo = lo;
            h.answer.ipv4 = ipv4;
        } else {
            h.piece.setValid();
            h.piece.hi = hi;
            h.piece.lo = lo;
        }
    }
    action fragment_miss() {
        if (m.fragment == FRAGMENT_FIRST) {
            if (h.answer.isValid()) {
                add_entry(action_name = "fragment_floating", action_params = (floating_ip_t) { h.answer.hi, h.answer.lo, h.answer.ipv4 }, expire_time_profile_id = LIFETIME_30S);
            } else {
                add_entry(action_name = "fragment_hit", action_params = (empty_t) {}, expire_time_profile_id = LIFETIME_30S);
            }
        }
    }
    table fragments {
        key = {
            h.flow.src_hi : exact @name("src_hi");
            h.flow.src_lo : exact @name("src_lo");
            h.flow.dst_hi : exact @name("dst_hi");
            h.flow.dst_lo : exact @name("dst_lo");
            h.flow.src_ep : exact @name("src_ep");
            h.flow.dst_ep : exact @name("dst_ep");
            h.flow.fragment_id : exact @name("id");
            h.flow.proto : exact @name("proto");
        }
        actions = { @tableonly fragment_hit; @tableonly fragment_floating; @defaultonly fragment_miss; }
        const default_action = fragment_miss;
        add_on_miss = true;
        idle_timeout_with_auto_delete = true;
        size = 16384;
    }

    // ---- labels of addresses -----------------------------------------------------------------------------------
    // What a rule can ask of an address is a label: in this IP set, in this CIDR, IPv4. A page gives each label of the
    // programs that read it one of 512 bits. The mask of a node stands in h.walk.w0..w7 when an address is looked up: what is
    // left are those of the address's labels that the node asks for.
    action set_labels(bit<64> w0, bit<64> w1, bit<64> w2, bit<64> w3, bit<64> w4, bit<64> w5, bit<64> w6, bit<64> w7) {
        h.walk.w0 = h.walk.w0 & w0;
        h.walk.w1 = h.walk.w1 & w1;
        h.walk.w2 = h.walk.w2 & w2;
        h.walk.w3 = h.walk.w3 & w3;
        h.walk.w4 = h.walk.w4 & w4;
        h.walk.w5 = h.walk.w5 & w5;
        h.walk.w6 = h.walk.w6 & w6;
        h.walk.w7 = h.walk.w7 & w7;
    }
    action labels_miss() {}
    table addr_labels {
        key = {
            h.walk.page : exact @name("page");
            h.walk.address_hi : exact @name("hi");
            h.walk.address_lo : exact @name("lo");
        }
        actions = { set_labels; @defaultonly labels_miss; }
        default_action = labels_miss;
        size = 262144;
    }
    action set_prefix_labels(bit<64> w0, bit<64> w1, bit<64> w2, bit<64> w3, bit<64> w4, bit<64> w5, bit<64> w6, bit<64> w7) {
        h.walk.w0 = h.walk.w0 & w0;
        h.walk.w1 = h.walk.w1 & w1;
        h.walk.w2 = h.walk.w2 & w2;
        h.walk.w3 = h.walk.w3 & w3;
        h.walk.w4 = h.walk.w4 & w4;
        h.walk.w5 = h.walk.w5 & w5;
        h.walk.w6 = h.walk.w6 & w6;
        h.walk.w7 = h.walk.w7 & w7;
    }
    // The catch-all prefixes give every address labels: the target is not set up. Without labels the default children of
    // the diagrams would not mean what they say.
    action no_labels() {
        h.walk.node = NODE_LEAF;
    }
    table addr_labels_prefix {
        key = {
            h.walk.page : exact @name("page");
            h.walk.address_hi : ternary @name("hi");
            h.walk.address_lo : ternary @name("lo");
        }
        actions = { set_prefix_labels; @defaultonly no_labels; }
        default_action = no_labels;
        size = 16384;
    }

    // ---- labels of ports ---------------------------------------------------------------------------------------
    // The same for sets of ports, in w0..w3. A port in no set has no labels.
    action set_dport_labels(bit<64> w0, bit<64> w1, bit<64> w2, bit<64> w3) {
        h.walk.w0 = h.walk.w0 & w0;
        h.walk.w1 = h.walk.w1 & w1;
        h.walk.w2 = h.walk.w2 & w2;
        h.walk.w3 = h.walk.w3 & w3;
    }
    action dport_labels_miss() {
        h.walk.w0 = 0;
        h.walk.w1 = 0;
        h.walk.w2 = 0;
        h.walk.w3 = 0;
    }
    table dport_labels {
        key = {
            h.walk.page : exact @name("page");
            h.flow.proto : exact @name("proto");
            h.flow.dport : lpm @name("port");
        }
        actions = { set_dport_labels; @defaultonly dport_labels_miss; }
        default_action = dport_labels_miss;
        size = 16384;
    }
    action set_sport_labels(bit<64> w0, bit<64> w1, bit<64> w2, bit<64> w3) {
        h.walk.w0 = h.walk.w0 & w0;
        h.walk.w1 = h.walk.w1 & w1;
        h.walk.w2 = h.walk.w2 & w2;
        h.walk.w3 = h.walk.w3 & w3;
    }
    action sport_labels_miss() {
        h.walk.w0 = 0;
        h.walk.w1 = 0;
        h.walk.w2 = 0;
        h.walk.w3 = 0;
    }
    table sport_labels {
        key = {
            h.walk.page : exact @name("page");
            h.flow.proto : exact @name("proto");
            h.flow.sport : lpm @name("port");
        }
        actions = { set_sport_labels; @defaultonly sport_labels_miss; }
        default_action = sport_labels_miss;
        size = 16384;
    }

    // ---- decision diagrams -------------------------------------------------------------------------------------
    // Each row names the next node and the chain of default children that follow it, because the miss action of the
    // next table has no row to read them from.
    action root(bit<32> page, bit<32> node, bit<32> d1, bit<32> d2, bit<32> d3, bit<32> d4, bit<32> d5) {
        h.walk.page = page;
        h.walk.node = node;
        h.walk.on_src = d1;
        h.walk.on_dst = d2;
        h.walk.on_proto = d3;
        h.walk.on_dport = d4;
        h.walk.on_sport = d5;
    }
    action no_root() {
        h.walk.node = NODE_LEAF;
    }
    table endpoint_root {
        key = { h.walk.ep : exact @name("ep"); h.walk.direction : exact @name("direction"); }
        actions = { root; @defaultonly no_root; }
        default_action = no_root;
        size = 4096;
    }
    action ask_src(bit<64> w0, bit<64> w1, bit<64> w2, bit<64> w3, bit<64> w4, bit<64> w5, bit<64> w6, bit<64> w7) {
        h.walk.w0 = w0;
        h.walk.w1 = w1;
        h.walk.w2 = w2;
        h.walk.w3 = w3;
        h.walk.w4 = w4;
        h.walk.w5 = w5;
        h.walk.w6 = w6;
        h.walk.w7 = w7;
    }
    action src_not_asked() {
        h.walk.node = h.walk.on_src;
    }
    table src_mask {
        key = { h.walk.node : exact @name("node"); }
        actions = { ask_src; @defaultonly src_not_asked; }
        default_action = src_not_asked;
        size = 65536;
    }
    action src_next(bit<32> node, bit<32> d1, bit<32> d2, bit<32> d3, bit<32> d4) {
        h.walk.node = node;
        h.walk.on_dst = d1;
        h.walk.on_proto = d2;
        h.walk.on_dport = d3;
        h.walk.on_sport = d4;
    }
    action src_default() {
        h.walk.node = h.walk.on_src;
    }
    table step_src {
        key = {
            h.walk.node : exact @name("node");
            h.walk.w0 : exact @name("w0");
            h.walk.w1 : exact @name("w1");
            h.walk.w2 : exact @name("w2");
            h.walk.w3 : exact @name("w3");
            h.walk.w4 : exact @name("w4");
            h.walk.w5 : exact @name("w5");
            h.walk.w6 : exact @name("w6");
            h.walk.w7 : exact @name("w7");
        }
        actions = { src_next; @defaultonly src_default; }
        default_action = src_default;
        size = 131072;
    }
    action ask_dst(bit<64> w0, bit<64> w1, bit<64> w2, bit<64> w3, bit<64> w4, bit<64> w5, bit<64> w6, bit<64> w7) {
        h.walk.w0 = w0;
        h.walk.w1 = w1;
        h.walk.w2 = w2;
        h.walk.w3 = w3;
        h.walk.w4 = w4;
        h.walk.w5 = w5;
        h.walk.w6 = w6;
        h.walk.w7 = w7;
    }
    action dst_not_asked() {
        h.walk.node = h.walk.on_dst;
    }
    table dst_mask {
        key = { h.walk.node : exact @name("node"); }
        actions = { ask_dst; @defaultonly dst_not_asked; }
        default_action = dst_not_asked;
        size = 65536;
    }
    action dst_next(bit<32> node, bit<32> d1, bit<32> d2, bit<32> d3) {
        h.walk.node = node;
        h.walk.on_proto = d1;
        h.walk.on_dport = d2;
        h.walk.on_sport = d3;
    }
    action dst_default() {
        h.walk.node = h.walk.on_dst;
    }
    table step_dst {
        key = {
            h.walk.node : exact @name("node");
            h.walk.w0 : exact @name("w0");
            h.walk.w1 : exact @name("w1");
            h.walk.w2 : exact @name("w2");
            h.walk.w3 : exact @name("w3");
            h.walk.w4 : exact @name("w4");
            h.walk.w5 : exact @name("w5");
            h.walk.w6 : exact @name("w6");
            h.walk.w7 : exact @name("w7");
        }
        actions = { dst_next; @defaultonly dst_default; }
        default_action = dst_default;
        size = 131072;
    }
    action proto_next(bit<32> node, bit<32> d1, bit<32> d2) {
        h.walk.node = node;
        h.walk.on_dport = d1;
        h.walk.on_sport = d2;
    }
    action proto_default() {
        h.walk.node = h.walk.on_proto;
    }
    table step_proto {
        key = { h.walk.node : exact @name("node"); h.flow.proto : exact @name("value"); }
        actions = { proto_next; @defaultonly proto_default; }
        default_action = proto_default;
        size = 65536;
    }
    // Single ports are asked first, then the labels of the port. No address is looked up any more in this walk: the page is free.
    action dport_next(bit<32> node, bit<32> d1) {
        h.walk.node = node;
        h.walk.on_sport = d1;
    }
    action dport_not_single() {}
    table step_dport {
        key = { h.walk.node : exact @name("node"); h.flow.dport : exact @name("port"); }
        actions = { dport_next; @defaultonly dport_not_single; }
        default_action = dport_not_single;
        size = 131072;
    }
    action ask_dport(bit<32> page, bit<64> w0, bit<64> w1, bit<64> w2, bit<64> w3) {
        h.walk.page = page;
        h.walk.w0 = w0;
        h.walk.w1 = w1;
        h.walk.w2 = w2;
        h.walk.w3 = w3;
    }
    action dport_not_asked() {
        h.walk.node = h.walk.on_dport;
    }
    table dport_mask {
        key = { h.walk.node : exact @name("node"); }
        actions = { ask_dport; @defaultonly dport_not_asked; }
        default_action = dport_not_asked;
        size = 65536;
    }
    action dport_range_next(bit<32> node, bit<32> d1) {
        h.walk.node = node;
        h.walk.on_sport = d1;
    }
    action dport_default() {
        h.walk.node = h.walk.on_dport;
    }
    table step_dport_range {
        key = {
            h.walk.node : exact @name("node");
            h.walk.w0 : exact @name("w0");
            h.walk.w1 : exact @name("w1");
            h.walk.w2 : exact @name("w2");
            h.walk.w3 : exact @name("w3");
        }
        actions = { dport_range_next; @defaultonly dport_default; }
        default_action = dport_default;
        size = 131072;
    }
    action sport_next(bit<32> node) {
        h.walk.node = node;
    }
    action sport_not_single() {}
    table step_sport {
        key = { h.walk.node : exact @name("node"); h.flow.sport : exact @name("port"); }
        actions = { sport_next; @defaultonly sport_not_single; }
        default_action = sport_not_single;
        size = 65536;
    }
    action ask_sport(bit<32> page, bit<64> w0, bit<64> w1, bit<64> w2, bit<64> w3) {
        h.walk.page = page;
        h.walk.w0 = w0;
        h.walk.w1 = w1;
        h.walk.w2 = w2;
        h.walk.w3 = w3;
    }
    action sport_not_asked() {
        h.walk.node = h.walk.on_sport;
    }
    table sport_mask {
        key = { h.walk.node : exact @name("node"); }
        actions = { ask_sport; @defaultonly sport_not_asked; }
        default_action = sport_not_asked;
        size = 65536;
    }
    action sport_range_next(bit<32> node) {
        h.walk.node = node;
    }
    action sport_default() {
        h.walk.node = h.walk.on_sport;
    }
    table step_sport_range {
        key = {
            h.walk.node : exact @name("node");
            h.walk.w0 : exact @name("w0");
            h.walk.w1 : exact @name("w1");
            h.walk.w2 : exact @name("w2");
            h.walk.w3 : exact @name("w3");
        }
        actions = { sport_range_next; @defaultonly sport_default; }
        default_action = sport_default;
        size = 65536;
    }

// One program from its root to a leaf. A leaf met early ends the walk: the levels left have nothing to decide.
// A node that has no mask does not ask about the address, which then is not looked up.
#define ASK(MASK, ADDRESS_HI, ADDRESS_LO, STEP)                         \
    if (h.walk.node >= NODE_LEAF) {} else {                             \
        if (MASK.apply().hit) {                                         \
            h.walk.address_hi = ADDRESS_HI;                             \
            h.walk.address_lo = ADDRESS_LO;                             \
            if (addr_labels.apply().hit) {                              \
                STEP.apply();                                           \
            } else if (addr_labels_prefix.apply().hit) {                \
                STEP.apply();                                           \
            } else {                                                    \
                m.reason = REASON_LABELS;                               \
            }                                                           \
        }                                                               \
    }
#define PORT(STEP, MASK, LABELS, STEP_RANGE)                            \
    if (h.walk.node < NODE_LEAF) {                                      \
        if (STEP.apply().miss) {                                        \
            if (MASK.apply().hit) {                                     \
                LABELS.apply();                                         \
                STEP_RANGE.apply();                                     \
            }                                                           \
        }                                                               \
    }
// What stands behind it looks at the leaf, h.walk.node.
#define WALK(ENDPOINT, STAGE)                                           \
    h.walk.ep = ENDPOINT;                                               \
    h.walk.direction = STAGE;                                           \
    endpoint_root.apply();                                              \
    LEVELS
#define LEVELS                                                          \
    if (h.walk.node >= NODE_LEAF) {} else {                             \
        ASK(src_mask, h.flow.src_hi, h.flow.src_lo, step_src)           \
        ASK(dst_mask, h.flow.dst_hi, h.flow.dst_lo, step_dst)           \
        if (h.walk.node < NODE_LEAF) { step_proto.apply(); }            \
        PORT(step_dport, dport_mask, dport_labels, step_dport_range)    \
        PORT(step_sport, sport_mask, sport_labels, step_sport_range)    \
    }                                                                   \
    outcomes.count(h.walk.node & NODE_OUTCOME);
#define DENY(REASON)                                                    \
    if (m.reason == REASON_NONE) {                                      \
        m.reason = REASON;                                              \
    }

#define KEY(SRC_HI, SRC_LO, DST_HI, DST_LO, SRC_EP, DST_EP, SPORT, DPORT) \
    h.connection.src_hi = SRC_HI;                                                \
    h.connection.src_lo = SRC_LO;                                                \
    h.connection.dst_hi = DST_HI;                                                \
    h.connection.dst_lo = DST_LO;                                                \
    h.connection.src_ep = SRC_EP;                                                \
    h.connection.dst_ep = DST_EP;                                                \
    h.connection.sport = SPORT;                                                  \
    h.connection.dport = DPORT;

// After KEY: OPPOSITE for the entry of the opposite order, else the packet's own.
#define KERNEL_OPPOSITE                                                 \
    if (h.kernel.isValid()) {                                           \
        if (m.source == SIDE_POD) {                                     \
            h.connection.src_ep = EP_KERNEL;                            \
        } else {                                                        \
            h.connection.dst_ep = EP_KERNEL;                            \
        }                                                               \
    }
#define KERNEL_OWN                                                      \
    if (h.kernel.isValid()) {                                           \
        if (m.source == SIDE_POD) {                                     \
            h.connection.dst_ep = EP_KERNEL;                            \
        } else {                                                        \
            h.connection.src_ep = EP_KERNEL;                            \
        }                                                               \
    }
// An answer in a connection that came in untranslated leaves untranslated, as in Linux, whose NAT looks at the first packet.
#define ANSWERS_LEAVE                                                   \
    if (m.kind != KIND_LATER && m.kind != KIND_OPENS) {                 \
        m.learn = FIND;                                                 \
        h.connection.proto = h.flow.proto;                              \
        KEY(h.flow.dst_hi, h.flow.dst_lo, h.flow.src_hi, h.flow.src_lo, h.flow.dst_ep, h.flow.src_ep, h.flow.dport, h.flow.sport) \
        if (m.kind == KIND_ICMP) {                                      \
            h.connection.sport = h.icmp.id;                             \
            h.connection.dport = 0xffff;                                \
            if (h.flow.proto == 1) {                                    \
                if (h.icmp.type == 0) { h.connection.dport = 8; }       \
                if (h.icmp.type == 14) { h.connection.dport = 13; }     \
                if (h.icmp.type == 16) { h.connection.dport = 15; }     \
                if (h.icmp.type == 18) { h.connection.dport = 17; }     \
            } else if (h.icmp.type == 129) {                            \
                h.connection.dport = 128;                               \
            }                                                           \
        }                                                               \
        if (ct.apply().hit) {                                           \
            leaves = 0;                                                 \
        }                                                               \
    }                                                                   \
    if (leaves == 0) {                                                  \
        h.kernel.setInvalid();                                          \
    }

// The first bytes of what an ICMP error quotes: no ports, or those of a query, for protocols that have none.
#define QUOTED_PORTS(QUOTED, ICMP_PROTOCOL)                             \
    if (QUOTED.protocol == 6 || QUOTED.protocol == 17 || QUOTED.protocol == 132 || QUOTED.protocol == 136) { \
        h.connection.sport = QUOTED.sport;                              \
        h.connection.dport = QUOTED.dport;                              \
    } else if (QUOTED.protocol == ICMP_PROTOCOL) {                      \
        h.connection.sport = QUOTED.icmp_id;                            \
        h.connection.dport = QUOTED.sport >> 8;                         \
    }

// The key of `fragments` that only fragments need.
#define FRAGMENT_ID                                                     \
    h.flow.fragment_id = 0;                                             \
    if (h.ipv4.isValid()) {                                             \
        h.flow.fragment_id = (bit<32>) h.ipv4.id;                       \
    } else if (h.fragment.isValid()) {                                  \
        h.flow.fragment_id = h.fragment.id;                             \
    }

// The DSCP of h.dscp; the bits of ECN stay. RFC 1624; p4c leaves out set_state in silence: the old checksum comes in as what it is the
// sum of.
#define WRITE_DSCP                                                      \
    if (h.ipv4.isValid()) {                                             \
        h.dscp.old_word = (bit<16>) h.ipv4.tos;                         \
        h.ipv4.tos = h.ipv4.tos & 0x03;                                 \
        h.ipv4.tos = h.ipv4.tos | h.dscp.tos;                           \
        h.dscp.new_word = (bit<16>) h.ipv4.tos;                         \
        h.dscp.complement = h.ipv4.checksum ^ 0xffff;                   \
        checksum.clear();                                               \
        checksum.add(h.dscp.complement);                                \
        checksum.subtract(h.dscp.old_word);                             \
        checksum.add(h.dscp.new_word);                                  \
        h.ipv4.checksum = checksum.get();                               \
    } else {                                                            \
        h.ipv6.version_class_flow = h.ipv6.version_class_flow & 0xf03fffff;\
        h.ipv6.version_class_flow = h.ipv6.version_class_flow | h.dscp.traffic_class;\
    }

// Drops what is over a limit. Numbers of colours are DPDK's, in which green is 0: p4c writes that as RED. ONE: a field that holds 1; DPDK
// takes no constant.
#define LIMIT(NUMBER, ONE)                                                                          \
    m.colour = packet_limits.dpdk_execute(NUMBER, PNA_MeterColor_t.RED, (bit<32>) ONE);             \
    if (m.colour != PNA_MeterColor_t.RED) {                                                         \
        m.reason = REASON_LIMIT;                                                                    \
    } else {                                                                                        \
        h.flow.frame_len = m.ip_len;                                                                \
        h.flow.frame_len = h.flow.frame_len + 14;                                                   \
        m.colour = byte_limits.dpdk_execute(NUMBER, PNA_MeterColor_t.RED, h.flow.frame_len);        \
        if (m.colour != PNA_MeterColor_t.RED) {                                                     \
            m.reason = REASON_LIMIT;                                                                \
        }                                                                                           \
    }

// The type of service, and the checksum with it: RFC 1624. p4c leaves out set_state in silence: the old checksum comes in as what it is the
// sum of.
#define SET_TOS(TOS)                                                    \
    h.dscp.setValid();                                                  \
    h.dscp.old_word = (bit<16>) h.ipv4.tos;                             \
    h.ipv4.tos = TOS;                                                   \
    h.dscp.new_word = (bit<16>) h.ipv4.tos;                             \
    h.dscp.complement = h.ipv4.checksum ^ 0xffff;                       \
    checksum.clear();                                                   \
    checksum.add(h.dscp.complement);                                    \
    checksum.subtract(h.dscp.old_word);                                 \
    checksum.add(h.dscp.new_word);                                      \
    h.ipv4.checksum = checksum.get();

// The first limit of a packet: what the pod sends.
#define SENDERS_LIMIT                                                   \
    if (h.flow.extras != 0) {                                           \
        h.flow.number = h.flow.extras & LIMIT_NUMBER;                   \
        LIMIT(h.flow.number, m.source)                                  \
    }

// What came out of a tunnel: it must fit into what was around it, and not be from an address of this node, as in Linux. Congestion on the
// way between the nodes (RFC 6040): who can not hear of it loses the packet.
#define OUT_OF_TUNNEL                                                   \
    if (m.ip_len > m.room) {                                            \
        m.reason = REASON_TUNNEL;                                       \
    }                                                                   \
    host_address.apply();                                               \
    if (m.own == 1) {                                                   \
        m.reason = REASON_SOURCE;                                       \
    }                                                                   \
    h.sums.setValid();                                                  \
    h.sums.ecn = 0;                                                     \
    if (h.was4.isValid()) {                                             \
        h.sums.ttl = h.was4.tos & 0x03;                                 \
        if (h.sums.ttl == 3) {                                          \
            h.sums.ecn = 0x00300000;                                    \
        }                                                               \
    } else {                                                            \
        h.sums.ecn = h.was6.version_class_flow & 0x00300000;            \
    }                                                                   \
    if (h.sums.ecn == 0x00300000) {                                     \
        if (h.ipv4.isValid()) {                                         \
            h.sums.ttl = h.ipv4.tos & 0x03;                             \
            if (h.sums.ttl == 0) {                                      \
                m.reason = REASON_TUNNEL;                               \
            } else {                                                    \
                SET_TOS(h.ipv4.tos | 0x03)                              \
            }                                                           \
        } else {                                                        \
            h.sums.ecn = h.ipv6.version_class_flow & 0x00300000;        \
            if (h.sums.ecn == 0) {                                      \
                m.reason = REASON_TUNNEL;                               \
            } else {                                                    \
                h.ipv6.version_class_flow = h.ipv6.version_class_flow | 0x00300000; \
            }                                                           \
        }                                                               \
    }

// The DSCP that a pod's packets out of the cluster get.
#define POD_DSCP                                                        \
    if (cluster_pools.apply().miss) {                                   \
        h.dscp.setValid();                                              \
        if (pod_dscp.apply().hit) {                                     \
            WRITE_DSCP                                                  \
        }                                                               \
    }

// From a node that we know? The key is written in different words at the two places: p4c would copy its parts together in metadata.
#define TUNNEL_PEER(SRC_HI, SRC_LO, PROTO)                              \
    h.tunnel.src_hi = SRC_HI;                                           \
    h.tunnel.src_lo = SRC_LO;                                           \
    h.tunnel.proto = PROTO;                                             \
    if (tunnel_peer.apply().miss) {                                     \
        m.reason = REASON_TUNNEL;                                       \
    }

// The packet becomes an ordinary one again.
#define NO_TUNNEL                                                       \
    h.link.setInvalid();                                                \
    h.outer4.setInvalid();                                              \
    h.outer6.setInvalid();                                              \
    h.vxlan.setInvalid();

// The headers around a packet, of which the action of next_hop has written the addresses. As Linux with the devices that Calico makes: outer DSCP 0, ECN of the packet (RFC 6040, compatibility mode), no DF around VXLAN
// and that of the packet around IPIP, time to live 64 around VXLAN and that of the packet around IPIP. The UDP checksum is 0 over IPv4; over
// IPv6 it is known where the packet's own checksum is (all that this one covers sums up to 0 but the headers).
#define ENCAPSULATE                                                      \
    h.sums.setValid();                                                  \
    if (h.vxlan.isValid()) {                                            \
        checksum.clear();                                               \
        checksum.add(h.flow.src_lo);                                    \
        checksum.add(h.flow.dst_lo);                                    \
        checksum.add(h.flow.sport);                                     \
        checksum.add(h.flow.dport);                                     \
        h.vxlan.sport = checksum.get();                                 \
        h.vxlan.sport = h.vxlan.sport | 0x8000;                         \
        h.vxlan.checksum = 0;                                           \
        h.vxlan.flags = 0x08000000;                                     \
    }                                                                   \
    if (h.outer4.isValid()) {                                           \
        h.link.ether_type = 0x0800;                                     \
        h.outer4.version_ihl = 0x45;                                    \
        h.outer4.flags_offset = 0;                                      \
        h.outer4.ttl = 64;                                              \
        h.outer4.protocol = 17;                                         \
        if (h.ipv4.isValid()) {                                         \
            h.outer4.tos = h.ipv4.tos & 0x03;                           \
            if (h.outer4.tos == 3) {                                    \
                h.outer4.tos = 2;                                       \
            }                                                           \
            h.outer4.id = h.ipv4.id;                                    \
            h.outer4.total_len = h.ipv4.total_len + 20;                 \
        } else {                                                        \
            h.outer4.tos = 0;                                           \
            h.sums.ecn = h.ipv6.version_class_flow & 0x00300000;        \
            if (h.sums.ecn == 0x00100000) {                             \
                h.outer4.tos = 1;                                       \
            } else if (h.sums.ecn != 0) {                               \
                h.outer4.tos = 2;                                       \
            }                                                           \
            h.outer4.id = 0;                                            \
            h.outer4.total_len = h.ipv6.payload_len + 60;               \
        }                                                               \
        if (h.vxlan.isValid()) {                                        \
            h.outer4.total_len = h.outer4.total_len + 30;               \
            h.vxlan.length = h.outer4.total_len - 20;                   \
        } else {                                                        \
            h.ethernet.setInvalid();                                    \
            h.outer4.protocol = 4;                                      \
            if (h.ipv4.isValid()) {                                     \
                h.outer4.ttl = h.ipv4.ttl;                              \
                h.outer4.flags_offset = h.ipv4.flags_offset & 0x4000;   \
            } else {                                                    \
                m.reason = REASON_ROUTE;                                \
            }                                                           \
        }                                                               \
        h.outer4.checksum = 0;                                          \
        checksum.clear();                                               \
        checksum.add(h.outer4);                                         \
        h.outer4.checksum = checksum.get();                             \
    } else {                                                            \
        h.link.ether_type = 0x86dd;                                     \
        h.outer6.version_class_flow = 0x60000000;                       \
        h.outer6.next_header = 17;                                      \
        h.outer6.hop_limit = 64;                                        \
        h.sums.known = 0;                                               \
        if (h.ipv6.isValid()) {                                         \
            h.sums.ecn = h.ipv6.version_class_flow & 0x00300000;        \
            if (h.sums.ecn == 0x00300000) {                             \
                h.sums.ecn = 0x00200000;                                \
            }                                                           \
            h.outer6.version_class_flow = h.outer6.version_class_flow | h.sums.ecn; \
            h.outer6.payload_len = h.ipv6.payload_len + 70;             \
            if (m.fragment == FRAGMENT_NONE) {                          \
                if (h.flow.proto == 6 || h.flow.proto == 58) {          \
                    h.sums.known = 1;                                   \
                } else if (h.flow.proto == 17) {                        \
                    if (h.udp.checksum != 0) {                          \
                        h.sums.known = 1;                               \
                    }                                                   \
                }                                                       \
            }                                                           \
        } else {                                                        \
            h.sums.ttl = h.ipv4.tos & 0x03;                             \
            if (h.sums.ttl == 1) {                                      \
                h.outer6.version_class_flow = 0x60100000;               \
            } else if (h.sums.ttl != 0) {                               \
                h.outer6.version_class_flow = 0x60200000;               \
            }                                                           \
            h.outer6.payload_len = h.ipv4.total_len + 30;               \
        }                                                               \
        h.vxlan.length = h.outer6.payload_len;                          \
        if (h.sums.known == 1) {                                        \
            h.sums.next = (bit<16>) h.ipv6.next_header;                 \
            h.sums.pair = (bit<16>) h.ipv6.next_header;                 \
            h.sums.pair = h.sums.pair << 8;                             \
            h.sums.pair = h.sums.pair | (bit<16>) h.ipv6.hop_limit;           \
            h.pseudo.setValid();                                        \
            h.pseudo.src_hi = h.outer6.src_hi;                          \
            h.pseudo.src_lo = h.outer6.src_lo;                          \
            h.pseudo.dst_hi = h.outer6.dst_hi;                          \
            h.pseudo.dst_lo = h.outer6.dst_lo;                          \
            h.pseudo.length = (bit<32>) h.vxlan.length;                 \
            h.pseudo.next_header = 17;                                  \
            checksum.clear();                                           \
            checksum.add(h.pseudo);                                     \
            checksum.add(h.vxlan);                                      \
            checksum.add(h.ethernet);                                   \
            checksum.add(h.ethernet.ether_type);                        \
            checksum.add(h.ipv6.version_class_flow);                    \
            checksum.add(h.sums.pair);                                  \
            checksum.subtract(h.sums.next);                             \
            h.vxlan.checksum = checksum.get();                          \
            if (h.vxlan.checksum == 0) {                                \
                h.vxlan.checksum = 0xffff;                              \
            }                                                           \
        }                                                               \
    }
// ---- floating IPs --------------------------------------------------------------------------------------------------
// The flow has the pod's own address from here on; policy that comes before translation in Linux, untracked and preDNAT, sees the other.
#define DESTINATION(ADDRESS_HI, ADDRESS_LO)                             \
    if (h.floating.isValid()) {                                         \
        h.flow.dst_hi = ADDRESS_HI;                                     \
        h.flow.dst_lo = ADDRESS_LO;                                     \
    }
// `local` again, for the pod's own address.
#define FLOATING_DESTINATION                                            \
    h.floating.was_hi = h.flow.dst_hi;                                  \
    h.floating.was_lo = h.flow.dst_lo;                                  \
    h.floating.was_ipv4 = 0;                                            \
    if (h.ipv4.isValid()) {                                             \
        h.floating.was_ipv4 = h.ipv4.dst;                               \
    }                                                                   \
    h.flow.dst_hi = h.floating.hi;                                      \
    h.flow.dst_lo = h.floating.lo;                                      \
    local.apply();                                                      \
    if (m.target != SIDE_POD && m.target != SIDE_DISABLED) {            \
        m.reason = REASON_ROUTE;                                        \
    }
#define SAME_AS(ADDRESS, ADDRESS_HI, ADDRESS_LO)                        \
    if (ADDRESS.isValid()) {                                            \
        if (ADDRESS.hi != ADDRESS_HI || ADDRESS.lo != ADDRESS_LO) {     \
            m.reason = REASON_TRANSLATION;                              \
        }                                                               \
    } else {                                                            \
        m.reason = REASON_TRANSLATION;                                  \
    }
// RFC 1624, for all that h.translation says at once. SWX never makes a 0, which would be no checksum in UDP.
#define RESUM_IPV4(FIELD)                                               \
    h.translation.complement = FIELD ^ 0xffff;                          \
    checksum.clear();                                                   \
    checksum.add(h.translation.complement);                             \
    checksum.subtract(h.translation.old_src);                           \
    checksum.subtract(h.translation.old_dst);                           \
    checksum.add(h.translation.src);                                    \
    checksum.add(h.translation.dst);                                    \
    FIELD = checksum.get();
#define RESUM_IPV6(FIELD)                                               \
    h.translation.complement = FIELD ^ 0xffff;                          \
    checksum.clear();                                                   \
    checksum.add(h.translation.complement);                             \
    checksum.subtract(h.translation.old_src_hi);                        \
    checksum.subtract(h.translation.old_src_lo);                        \
    checksum.subtract(h.translation.old_dst_hi);                        \
    checksum.subtract(h.translation.old_dst_lo);                        \
    checksum.add(h.translation.src_hi);                                 \
    checksum.add(h.translation.src_lo);                                 \
    checksum.add(h.translation.dst_hi);                                 \
    checksum.add(h.translation.dst_lo);                                 \
    FIELD = checksum.get();
#define RESUM_TRANSPORT(RESUM)                                          \
    if (h.tcp.isValid()) {                                              \
        RESUM(h.tcp.checksum)                                           \
    } else if (h.udp.isValid()) {                                       \
        if (h.udp.checksum != 0) {                                      \
            RESUM(h.udp.checksum)                                       \
        }                                                               \
    }
#define ENDS_IPV4(HEADER)                                               \
    h.translation.old_src = HEADER.src;                                 \
    h.translation.src = HEADER.src;                                     \
    h.translation.old_dst = HEADER.dst;                                 \
    h.translation.dst = HEADER.dst;
#define ENDS_IPV6(HEADER)                                               \
    h.translation.old_src_hi = HEADER.src_hi;                           \
    h.translation.old_src_lo = HEADER.src_lo;                           \
    h.translation.src_hi = HEADER.src_hi;                               \
    h.translation.src_lo = HEADER.src_lo;                               \
    h.translation.old_dst_hi = HEADER.dst_hi;                           \
    h.translation.old_dst_lo = HEADER.dst_lo;                           \
    h.translation.dst_hi = HEADER.dst_hi;                               \
    h.translation.dst_lo = HEADER.dst_lo;
#define REWRITE_IPV4(HEADER)                                            \
    HEADER.src = h.translation.src;                                     \
    HEADER.dst = h.translation.dst;                                     \
    RESUM_IPV4(HEADER.checksum)
#define REWRITE_IPV6(HEADER)                                            \
    HEADER.src_hi = h.translation.src_hi;                               \
    HEADER.src_lo = h.translation.src_lo;                               \
    HEADER.dst_hi = h.translation.dst_hi;                               \
    HEADER.dst_lo = h.translation.dst_lo;
// The packet as it leaves, and in an error the quoted packet as its sender knows it. The checksum of a quoted UDP header stays what it
// was. A message of ICMPv6 covers what it quotes; in one of ICMP the address and the header's checksum make up for each other.
#define TRANSLATE_IPV4                                                  \
    ENDS_IPV4(h.ipv4)                                                   \
    if (h.floating.isValid()) {                                         \
        h.translation.dst = h.floating.ipv4;                            \
        if (h.floating.ipv4 == h.ipv4.src) {                            \
            h.translation.src = h.floating.back_ipv4;                   \
        }                                                               \
    }                                                                   \
    if (h.answer.isValid()) {                                           \
        h.translation.src = h.answer.ipv4;                              \
    }                                                                   \
    REWRITE_IPV4(h.ipv4)                                                \
    RESUM_TRANSPORT(RESUM_IPV4)                                         \
    if (h.quoted_ipv4.isValid()) {                                      \
        ENDS_IPV4(h.quoted_ipv4)                                        \
        if (h.floating.isValid()) {                                     \
            h.translation.src = h.floating.ipv4;                        \
        }                                                               \
        if (h.answer.isValid()) {                                       \
            h.translation.dst = h.answer.ipv4;                          \
        }                                                               \
        REWRITE_IPV4(h.quoted_ipv4)                                     \
    }
#define TRANSLATE_IPV6                                                  \
    ENDS_IPV6(h.ipv6)                                                   \
    if (h.floating.isValid()) {                                         \
        h.translation.dst_hi = h.floating.hi;                           \
        h.translation.dst_lo = h.floating.lo;                           \
        if (h.floating.hi == h.ipv6.src_hi && h.floating.lo == h.ipv6.src_lo) {\
            h.translation.src_hi = h.floating.back_hi;                  \
            h.translation.src_lo = h.floating.back_lo;                  \
        }                                                               \
    }                                                                   \
    if (h.answer.isValid()) {                                           \
        h.translation.src_hi = h.answer.hi;                             \
        h.translation.src_lo = h.answer.lo;                             \
    }                                                                   \
    REWRITE_IPV6(h.ipv6)                                                \
    RESUM_TRANSPORT(RESUM_IPV6)                                         \
    if (h.icmp.isValid()) {                                             \
        if (h.flow.proto == 58) {                                       \
            RESUM_IPV6(h.icmp.checksum)                                 \
        }                                                               \
        if (h.quoted_ipv6.isValid()) {                                  \
            ENDS_IPV6(h.quoted_ipv6)                                    \
            if (h.floating.isValid()) {                                 \
                h.translation.src_hi = h.floating.hi;                   \
                h.translation.src_lo = h.floating.lo;                   \
            }                                                           \
            if (h.answer.isValid()) {                                   \
                h.translation.dst_hi = h.answer.hi;                     \
                h.translation.dst_lo = h.answer.lo;                     \
            }                                                           \
            REWRITE_IPV6(h.quoted_ipv6)                                 \
            RESUM_IPV6(h.icmp.checksum)                                 \
        }                                                               \
    }
// A message of ICMP that opens no connection and belongs to none is not translated in Linux, and so gets nowhere.
// What is too big goes to the stack as it came, which says so to whoever sent it. An answer must not come back from there in fragments,
// untranslated.
#define FLOATING_IPS                                                    \
    if (m.learn == LEARN_FLOATING) {                                    \
        ct.apply();                                                     \
        SAME_AS(h.own, h.floating.was_hi, h.floating.was_lo)            \
    } else if (h.own.isValid()) {                                       \
        m.reason = REASON_TRANSLATION;                                  \
    } else if (m.learn == FIND) {                                       \
        if (m.passed == PASSED_NEW) {                                   \
            m.reason = REASON_INVALID;                                  \
        }                                                               \
    }                                                                   \
    if (m.passed == PASSED_TOO_BIG) {                                   \
        if (h.answer.isValid() && h.ipv4.isValid()) {                   \
            if (h.ipv4.flags_offset & 0x4000 == 0) {                    \
                m.reason = REASON_STACK;                                \
            }                                                           \
        }                                                               \
    } else if (h.ipv4.isValid()) {                                      \
        TRANSLATE_IPV4                                                  \
    } else {                                                            \
        TRANSLATE_IPV6                                                  \
    }

    apply {
        if (h.ipv6.isValid()) {
            if (h.ipv6.version_class_flow < 0x60000000 || h.ipv6.version_class_flow > 0x6fffffff) {
                m.reason = REASON_UNSUPPORTED;
            }
            // The form of IPv4 addresses must not come in as IPv6.
            if (h.ipv6.src_hi == 0 && h.ipv6.src_lo >= 0x0000ffff00000000 && h.ipv6.src_lo <= 0x0000ffffffffffff) {
                m.reason = REASON_UNSUPPORTED;
            }
            if (h.ipv6.dst_hi == 0 && h.ipv6.dst_lo >= 0x0000ffff00000000 && h.ipv6.dst_lo <= 0x0000ffffffffffff) {
                m.reason = REASON_UNSUPPORTED;
            }
        }

        // ---- transport: ports, and what the packet means for connection tracking ----
        if (h.tcp.isValid()) {
            h.flow.sport = h.tcp.sport;
            h.flow.dport = h.tcp.dport;
            m.least = m.least + 20;
            m.kind = KIND_EITHER;
            m.timer = TIMER_RESTART;
            m.lifetime = LIFETIME_12H;
            // The combinations that Linux' connection tracking knows (URG, ACK, RST, SYN, FIN); PSH, ECE, CWR are free.
            // The most frequent ones first: ACK, ACK with PSH.
            if (h.tcp.flags != 0x10 && h.tcp.flags != 0x18) {
                bit<8> flags = h.tcp.flags & 0x37;
                if (flags == 0x02 || flags == 0x22) {
                    m.kind = KIND_OPENS;
                    m.timer = TIMER_SET;
                    m.lifetime = LIFETIME_120S;
                } else if (flags == 0x12) {
                    m.kind = KIND_FOLLOWS;
                    m.timer = TIMER_SET;
                } else if (flags == 0x11 || flags == 0x31) {
                    m.kind = KIND_FOLLOWS;
                    m.timer = TIMER_SET;
                    m.lifetime = LIFETIME_120S;
                } else if (flags == 0x04 || flags == 0x14) {
                    m.kind = KIND_FOLLOWS;
                    m.timer = TIMER_SET;
                    m.lifetime = LIFETIME_10S;
                } else if (flags != 0x10 && flags != 0x30) {
                    if (m.reason == REASON_NONE) {
                        m.reason = REASON_INVALID;
                    }
                }
            }
        } else if (h.udp.isValid()) {
            h.flow.sport = h.udp.sport;
            h.flow.dport = h.udp.dport;
            m.least = m.least + 8;
            m.kind = KIND_EITHER;
            m.timer = TIMER_SET;
            m.lifetime = LIFETIME_30S;
            // The shape of VXLAN. Fragments are no packets of a tunnel, nor is what lies in one.
            if (h.within.flags == 0x08000000) {
                if (m.reason == REASON_NONE && m.fragment == FRAGMENT_NONE) {
                    h.flow.port = (bit<32>) istd.input_port;
                    h.tunnel.setValid();
                    if (tunnel_here.apply().hit) {
                        if (h.tunnelled.isValid()) {
                            m.reason = REASON_TUNNEL;
                        } else {
                            m.least = m.least + 42;
                            TUNNEL_PEER(h.flow.src_hi, h.flow.src_lo, h.flow.proto)
                            if (h.ethernet.dst != h.tunnel.mac || h.within.dst != h.tunnel.inner_mac || h.within.vni != h.tunnel.vni) {
                                m.reason = REASON_TUNNEL;
                            }
                            if (m.ip_len < m.least) {
                                m.reason = REASON_TUNNEL;
                            }
                            if (m.reason == REASON_NONE) {
                                m.reason = REASON_AGAIN;
                                h.ethernet.ether_type = ETHERTYPE_AGAIN;
                                m.room = m.ip_len;
                                if (h.ipv4.isValid()) {
                                    m.again = AGAIN_VXLAN4;
                                    m.room = m.room - 50;
                                } else {
                                    m.again = AGAIN_VXLAN6;
                                    m.room = m.room - 70;
                                }
                            }
                        }
                    }
                }
            }
        } else if (h.sctp.isValid()) {
            h.flow.sport = h.sctp.sport;
            h.flow.dport = h.sctp.dport;
            m.least = m.least + 16;
            m.kind = KIND_FOLLOWS;
            m.timer = TIMER_RESTART;
            m.lifetime = LIFETIME_30S;
            if (h.sctp.chunk_type == 1) {
                m.kind = KIND_OPENS;
                m.timer = TIMER_SET;
            } else if (h.sctp.chunk_type == 4) {
                m.kind = KIND_EITHER;
            } else if (h.sctp.chunk_type == 10 || h.sctp.chunk_type == 11) {
                m.timer = TIMER_SET;
                m.lifetime = LIFETIME_12H;
            } else if (h.sctp.chunk_type == 6 || h.sctp.chunk_type == 7 || h.sctp.chunk_type == 8 || h.sctp.chunk_type == 14) {
                m.timer = TIMER_SET;
                m.lifetime = LIFETIME_10S;
            }
        } else {
            h.flow.sport = 0;
            h.flow.dport = 0;
            m.kind = KIND_EITHER;
            m.timer = TIMER_RESTART;
            m.lifetime = LIFETIME_300S;
            if (h.ipv6.isValid()) {
                // Other extension headers: the transport behind them was not parsed, so no rule could see it.
                if (h.flow.proto == 0 || h.flow.proto == 43 || h.flow.proto == 44 || h.flow.proto == 51 || h.flow.proto == 60 || h.flow.proto == 135 || h.flow.proto == 139 || h.flow.proto == 140) {
                    m.reason = REASON_UNSUPPORTED;
                }
            }
            // IPIP.
            if (h.flow.proto == 4) {
                if (h.ipv4.isValid() && m.reason == REASON_NONE && m.fragment == FRAGMENT_NONE) {
                    h.flow.port = (bit<32>) istd.input_port;
                    h.tunnel.setValid();
                    if (tunnel_here.apply().hit) {
                        if (h.tunnelled.isValid()) {
                            m.reason = REASON_TUNNEL;
                        } else {
                            m.least = m.least + 20;
                            TUNNEL_PEER(0, h.flow.src_lo | IPV4_MAPPED, 4)
                            if (h.ethernet.dst != h.tunnel.mac) {
                                m.reason = REASON_TUNNEL;
                            }
                            if (m.ip_len < m.least) {
                                m.reason = REASON_TUNNEL;
                            }
                            if (m.reason == REASON_NONE) {
                                m.reason = REASON_AGAIN;
                                h.ethernet.ether_type = ETHERTYPE_AGAIN;
                                m.again = AGAIN_IPIP;
                                m.room = m.ip_len;
                                m.room = m.room - 20;
                            }
                        }
                    }
                }
            }
            if (h.arp.isValid()) {
                m.kind = KIND_ARP;
            } else if (m.fragment == FRAGMENT_LATER) {
                m.kind = KIND_LATER;
            } else if (h.icmp.isValid()) {
                h.flow.dport = (bit<16>) h.icmp.type;
                h.flow.dport = h.flow.dport << 8;
                h.flow.dport = h.flow.dport | (bit<16>) h.icmp.code;
                m.least = m.least + 8;
                m.kind = KIND_ICMP;
                m.timer = TIMER_SET;
                m.lifetime = LIFETIME_30S;
                // Router and neighbour solicitations and advertisements, and redirects: of the link, never routed.
                if (h.ipv6.isValid() && h.flow.proto == 58 && m.fragment == FRAGMENT_NONE) {
                    if (h.icmp.type == 133 || h.icmp.type == 134 || h.icmp.type == 135 || h.icmp.type == 136 || h.icmp.type == 137) {
                        m.kind = KIND_DISCOVERY;
                    }
                }
            }
        }

        bit<8> way = WAY_NONE;
        if (m.ip_len < m.least) {
            m.reason = REASON_UNSUPPORTED;
        } else if (m.reason == REASON_NONE) {
            // ---- ports, source ----
            port_in.apply();
            if (m.source > SIDE_HOST) {
                m.reason = REASON_PORT;
                if (m.source == SIDE_DISABLED) {
                    m.reason = REASON_SOURCE_DISABLED;
                }
            } else if (m.kind < KIND_LATER) {
                // ---- neighbours: pods and host are told that every address but their own ones is at m.mac, the uplink
                // that the node's own ones are ----
                m.passed = PASSED_ANSWERED;
                if (h.tunnelled.isValid()) {
                    m.reason = REASON_NEIGHBOUR;
                }
                // Is it a question that can be answered? Then the address that it asks about is looked at as a source.
                if (m.kind == KIND_ARP) {
                    if (h.ethernet.dst != m.mac && h.ethernet.dst != 0xffffffffffff) {
                        m.reason = REASON_NEIGHBOUR;
                    }
                    if (h.arp.hardware != 1 || h.arp.protocol != 0x0800 || h.arp.hardware_len != 6 || h.arp.protocol_len != 4) {
                        m.reason = REASON_NEIGHBOUR;
                    }
                    if (h.arp.operation != 1 || h.arp.sender_ip == 0 || h.arp.sender_ip == h.arp.target_ip || h.arp.target_ip == 0) {
                        m.reason = REASON_NEIGHBOUR;
                    }
                    if (h.arp.target_ip >= 0xe0000000) {
                        m.reason = REASON_NEIGHBOUR;
                    }
                    h.flow.src_lo = (bit<64>) h.arp.target_ip + IPV4_MAPPED;
                } else {
                    if (h.ethernet.dst != m.mac && h.ethernet.dst & 0xffffff000000 != 0x3333ff000000) {
                        m.reason = REASON_NEIGHBOUR;
                    }
                    if (h.icmp.type != 135 || h.icmp.code != 0 || h.ipv6.hop_limit != 255) {
                        m.reason = REASON_NEIGHBOUR;
                    }
                    if (h.ipv6.payload_len != 24 && h.ipv6.payload_len != 32) {
                        m.reason = REASON_NEIGHBOUR;
                    }
                    // Duplicate address detection.
                    if (h.ipv6.src_hi == 0 && h.ipv6.src_lo == 0) {
                        m.reason = REASON_NEIGHBOUR;
                    }
                    if (h.neighbour.isValid()) {
                        if (h.neighbour.target_hi >= 0xff00000000000000) {
                            m.reason = REASON_NEIGHBOUR;
                        }
                        h.flow.src_hi = h.neighbour.target_hi;
                        h.flow.src_lo = h.neighbour.target_lo;
                    }
                }
                if (m.reason == REASON_NONE) {
                    if (m.source == SIDE_POD) {
                        if (pod_source.apply().hit) {
                            m.reason = REASON_NEIGHBOUR;
                        }
                    } else {
                        host_address.apply();
                        if (m.source == SIDE_HOST && m.own == 1) {
                            m.reason = REASON_NEIGHBOUR;
                        }
                        if (m.source == SIDE_UPLINK && m.own == 0) {
                            m.reason = REASON_NEIGHBOUR;
                        }
                    }
                }
                // Who asks must be who they say. Linux asks from the link-local address at times, which nobody else sees.
                if (m.reason == REASON_NONE && m.source == SIDE_POD) {
                    bit<8> link_local = 0;
                    if (m.kind == KIND_ARP) {
                        h.flow.src_lo = (bit<64>) h.arp.sender_ip + IPV4_MAPPED;
                    } else {
                        h.flow.src_hi = h.ipv6.src_hi;
                        h.flow.src_lo = h.ipv6.src_lo;
                        if (h.ipv6.src_hi == 0xfe80000000000000) {
                            link_local = 1;
                        }
                    }
                    if (link_local == 0) {
                        if (pod_source.apply().miss) {
                            m.reason = REASON_SOURCE;
                        }
                    }
                }
                if (m.reason == REASON_NONE) {
                    if (m.kind == KIND_ARP) {
                        bit<32> asked = h.arp.target_ip;
                        h.ethernet.dst = h.arp.sender_mac;
                        h.ethernet.src = m.mac;
                        h.arp.operation = 2;
                        h.arp.target_mac = h.arp.sender_mac;
                        h.arp.target_ip = h.arp.sender_ip;
                        h.arp.sender_mac = m.mac;
                        h.arp.sender_ip = asked;
                    } else {
                        h.ethernet.dst = h.ethernet.src;
                        h.ethernet.src = m.mac;
                        h.ipv6.version_class_flow = 0x60000000;
                        h.ipv6.payload_len = 32;
                        h.ipv6.dst_hi = h.ipv6.src_hi;
                        h.ipv6.dst_lo = h.ipv6.src_lo;
                        h.ipv6.src_hi = h.neighbour.target_hi;
                        h.ipv6.src_lo = h.neighbour.target_lo;
                        h.icmp.type = 136;
                        h.icmp.checksum = 0;
                        // A router, solicited; not to override what the asker knows, as it is an answer for others.
                        h.icmp.id = 0xc000;
                        h.icmp.seq = 0;
                        h.neighbour_option.setValid();
                        h.neighbour_option.type = 2;
                        h.neighbour_option.length = 1;
                        h.neighbour_option.mac = m.mac;
                        h.pseudo.setValid();
                        h.pseudo.src_hi = h.ipv6.src_hi;
                        h.pseudo.src_lo = h.ipv6.src_lo;
                        h.pseudo.dst_hi = h.ipv6.dst_hi;
                        h.pseudo.dst_lo = h.ipv6.dst_lo;
                        h.pseudo.length = 32;
                        h.pseudo.next_header = 58;
                        checksum.clear();
                        checksum.add(h.pseudo);
                        checksum.add(h.icmp);
                        checksum.add(h.neighbour);
                        checksum.add(h.neighbour_option);
                        h.icmp.checksum = checksum.get();
                    }
                }
            } else if (h.ethernet.dst != m.mac) {
                m.reason = REASON_MAC;
            } else {
                if (m.source == SIDE_POD) {
                    if (pod_source.apply().hit) {
                        SENDERS_LIMIT
                    } else if (pod_source_prefix.apply().hit) {
                        SENDERS_LIMIT
                    } else {
                        m.reason = REASON_SOURCE;
                    }
                } else if (m.source == SIDE_HOST) {
                    host_address.apply();
                }

                // ---- destination ----
                if (m.reason == REASON_NONE) {
                    local.apply();
                    if (m.target >= SIDE_NONE) {
                        // ---- to another node, or out of the cluster ----
                        h.hop.setValid();
                        if (m.target == SIDE_FLOATING) {
                            FLOATING_DESTINATION
                        } else if (m.source == SIDE_UPLINK) {
                            if (default_route.apply().miss) {
                                m.reason = REASON_ROUTE;
                            }
                        } else {
                            bit<8> may_leave = 1;
                            if (remote_address.apply().miss) {
                                if (remote_block.apply().hit) {
                                    may_leave = 0;
                                }
                            } else if (m.source == SIDE_HOST) {
                                may_leave = 0;
                            } else if (h.hop.kind == HOP_BLACKHOLE) {
                                may_leave = 0;
                            }
                            // Addresses of pods stay within the pools: what leaves them goes by the kernel, which gives it the node's. That
                            // holds for what goes to other nodes themselves, too.
                            bit<8> leaves = 0;
                            if (may_leave == 1) {
                                if (cluster_pools.apply().miss) {
                                    if (m.source == SIDE_POD || m.own == 0) {
                                        if (masquerade_pools.apply().hit) {
                                            leaves = 1;
                                        }
                                    }
                                }
                            }
                            if (leaves == 1 && m.source == SIDE_POD) {
                                ANSWERS_LEAVE
                            }
                            if (leaves == 1) {
                                // From the kernel, with the address that it should have changed.
                                if (m.source == SIDE_HOST) {
                                    m.reason = REASON_SOURCE;
                                }
                            } else if (h.hop.kind == HOP_NONE) {
                                if (default_route.apply().miss) {
                                    m.reason = REASON_ROUTE;
                                }
                            } else if (h.hop.kind == HOP_BLACKHOLE) {
                                m.reason = REASON_ROUTE;
                            } else if (next_hop.apply().miss) {
                                m.reason = REASON_ROUTE;
                            } else if (m.source == SIDE_HOST) {
                                // The kernel has its tunnels itself.
                                if (h.kernel.isValid()) {
                                    m.reason = REASON_ROUTE;
                                }
                            }
                        }
                    }
                    if (m.source == SIDE_HOST) {
                        if (m.target == SIDE_POD && m.own == 0) {
                            h.kernel.setValid();
                        }
                    }
                    if (m.target > SIDE_HOST) {
                        if (m.target == SIDE_DISABLED) {
                            m.reason = REASON_TARGET_DISABLED;
                        }
                    } else {
                        way = WAY_HOST;
                        // From and to the host is a packet's first and last hop.
                        if (m.source != SIDE_HOST && m.target != SIDE_HOST) {
                            // Linux looks at the time to live before policy.
                            if (m.ttl < 2) {
                                way = WAY_NONE;
                                m.passed = PASSED_TTL;
                                NO_TUNNEL
                                if (host_stack.apply().miss) {
                                    m.reason = REASON_STACK;
                                }
                            } else {
                                way = WAY_ROUTED;
                            }
                        } else if (m.source == SIDE_UPLINK) {
                            // What is for a tunnel of ours and was no packet of it: the host's stack must not take it for one.
                            if (h.flow.proto == 17 || h.flow.proto == 4) {
                                h.flow.port = (bit<32>) istd.input_port;
                                h.tunnel.setValid();
                                if (tunnel_here.apply().hit) {
                                    m.reason = REASON_TUNNEL;
                                }
                            }
                        }
                    }
                }
            }
        }

        if (way != WAY_NONE) {
            m.learn = FIND;
            if (m.kind == KIND_LATER) {
                m.passed = PASSED_FRAGMENT;
                FRAGMENT_ID
                if (fragments.apply().miss) {
                    m.reason = REASON_FRAGMENT;
                }
                if (h.tunnelled.isValid() && m.source == SIDE_UPLINK) {
                    OUT_OF_TUNNEL
                }
            } else {
                m.passed = PASSED_NEW;
                // ---- untracked policy of the uplink: each packet, before connections are looked at ----
                if (m.source != SIDE_POD) {
                    if (m.source == SIDE_UPLINK || m.target == SIDE_UPLINK || h.floating.isValid()) {
                        // At tunnels there is none.
                        if (h.tunnelled.isValid()) {
                            if (m.source == SIDE_UPLINK) {
                                OUT_OF_TUNNEL
                            }
                        } else {
                            h.walk.setValid();
                            h.walk.ep = 0;
                            h.walk.direction = STAGE_UNTRACKED_IN;
                            if (m.source == SIDE_HOST) {
                                h.walk.direction = STAGE_UNTRACKED_OUT;
                            }
                            DESTINATION(h.floating.was_hi, h.floating.was_lo)
                            endpoint_root.apply();
                            LEVELS
                            DESTINATION(h.floating.hi, h.floating.lo)
                            // One that is not looked up.
                            if (h.walk.node >= NODE_ALLOW) {
                                m.passed = PASSED_UNTRACKED;
                                m.kind = KIND_OPENS;
                                // Nobody translates it.
                                if (h.floating.isValid()) {
                                    m.reason = REASON_ROUTE;
                                }
                            } else if (h.walk.node < NODE_UNMATCHED) {
                                m.kind = KIND_OPENS;
                                DENY(REASON_HOST_POLICY)
                            }
                        }
                    }
                }

                // ---- established? Look for the entry of the opposite order. ----
                h.connection.proto = h.flow.proto;
                if (m.kind >= KIND_FOLLOWS) {
                    KEY(h.flow.dst_hi, h.flow.dst_lo, h.flow.src_hi, h.flow.src_lo, h.flow.dst_ep, h.flow.src_ep, h.flow.dport, h.flow.sport)
                    KERNEL_OPPOSITE
                    if (ct.apply().hit) {
                        m.passed = PASSED_ESTABLISHED;
                        if (h.udp.isValid()) {
                            m.lifetime = LIFETIME_120S;
                        }
                    }
                } else if (m.kind == KIND_ICMP) {
                    KEY(h.flow.dst_hi, h.flow.dst_lo, h.flow.src_hi, h.flow.src_lo, h.flow.dst_ep, h.flow.src_ep, h.flow.dport, h.flow.sport)
                    KERNEL_OPPOSITE
                    // A query and its answer share the identifier; the type stands where the port of the peer would be.
                    bit<16> opposite = 0xffff;
                    m.learnable = LEARN_NEVER;
                    if (h.flow.proto == 1) {
                        if (h.icmp.type == 8) { opposite = 0; m.learnable = LEARN_ALWAYS; }
                        if (h.icmp.type == 0) { opposite = 8; m.learnable = LEARN_ESTABLISHED; }
                        if (h.icmp.type == 13) { opposite = 14; m.learnable = LEARN_ALWAYS; }
                        if (h.icmp.type == 14) { opposite = 13; m.learnable = LEARN_ESTABLISHED; }
                        if (h.icmp.type == 15) { opposite = 16; m.learnable = LEARN_ALWAYS; }
                        if (h.icmp.type == 16) { opposite = 15; m.learnable = LEARN_ESTABLISHED; }
                        if (h.icmp.type == 17) { opposite = 18; m.learnable = LEARN_ALWAYS; }
                        if (h.icmp.type == 18) { opposite = 17; m.learnable = LEARN_ESTABLISHED; }
                    } else {
                        if (h.icmp.type == 128) { opposite = 129; m.learnable = LEARN_ALWAYS; }
                        if (h.icmp.type == 129) { opposite = 128; m.learnable = LEARN_ESTABLISHED; }
                    }
                    h.connection.sport = h.icmp.id;
                    h.connection.dport = opposite;
                    if (m.learnable != LEARN_NEVER) {
                        if (ct.apply().hit) {
                            m.passed = PASSED_ESTABLISHED;
                        }
                    } else {
                        // An error belongs to the connection of the packet that it quotes, if that packet came from where the error
                        // goes to. Its ports are known if its transport header is at its place.
                        bit<8> quotes = 0;
                        h.connection.sport = 0;
                        h.connection.dport = 0;
                        if (h.quoted_ipv4.isValid()) {
                            quotes = 1;
                            h.connection.src_hi = 0;
                            h.connection.src_lo = (bit<64>) h.quoted_ipv4.src + IPV4_MAPPED;
                            h.connection.dst_hi = 0;
                            h.connection.dst_lo = (bit<64>) h.quoted_ipv4.dst + IPV4_MAPPED;
                            h.connection.proto = h.quoted_ipv4.protocol;
                            if (h.quoted_ipv4.version_ihl == 0x45 && h.quoted_ipv4.flags_offset & 0x1fff == 0) {
                                QUOTED_PORTS(h.quoted_ipv4, 1)
                            }
                        }
                        if (h.quoted_ipv6.isValid()) {
                            quotes = 1;
                            h.connection.src_hi = h.quoted_ipv6.src_hi;
                            h.connection.src_lo = h.quoted_ipv6.src_lo;
                            h.connection.dst_hi = h.quoted_ipv6.dst_hi;
                            h.connection.dst_lo = h.quoted_ipv6.dst_lo;
                            h.connection.proto = h.quoted_ipv6.protocol;
                            QUOTED_PORTS(h.quoted_ipv6, 58)
                        }
                        DESTINATION(h.floating.was_hi, h.floating.was_lo)
                        if (h.connection.src_hi != h.flow.dst_hi || h.connection.src_lo != h.flow.dst_lo) {
                            quotes = 0;
                        }
                        DESTINATION(h.floating.hi, h.floating.lo)
                        if (quotes == 1) {
                            h.connection.src_hi = h.flow.dst_hi;
                            h.connection.src_lo = h.flow.dst_lo;
                            h.connection.src_ep = h.flow.dst_ep;
                            h.connection.dst_ep = 0;
                            if (h.connection.dst_hi == h.flow.src_hi && h.connection.dst_lo == h.flow.src_lo) {
                                h.connection.dst_ep = h.flow.src_ep;
                            }
                            KERNEL_OPPOSITE
                            m.timer = TIMER_LEAVE;
                            if (ct.apply().hit) {
                                m.passed = PASSED_RELATED;
                            }
                        }
                    }
                }

                if (m.passed == PASSED_ESTABLISHED) {
                } else if (m.reason == REASON_NONE) {
                    // ---- policy: which programs are left ----
                    h.walk.setValid();
                    bit<8> first = STAGE_NONE;
                    bit<8> second = STAGE_NONE;
                    bit<8> before = STAGE_NONE;
                    if (m.passed == PASSED_NEW) {
                        if (m.source == SIDE_POD) {
                            first = STAGE_EGRESS;
                            if (m.target == SIDE_POD) {
                                second = STAGE_INGRESS;
                            } else if (h.tunnelled.isValid()) {
                                second = STAGE_TUNNEL_FORWARD_OUT;
                            } else if (m.target == SIDE_UPLINK || h.kernel.isValid()) {
                                second = STAGE_FORWARD_OUT;
                            } else {
                                first = STAGE_EGRESS_TO_HOST;
                            }
                        } else if (m.source == SIDE_UPLINK) {
                            first = STAGE_HOST_IN;
                            before = STAGE_PRE_DNAT;
                            if (m.target == SIDE_POD) {
                                first = STAGE_FORWARD_IN;
                                second = STAGE_INGRESS;
                            }
                            if (h.tunnelled.isValid()) {
                                before = STAGE_TUNNEL_PRE_DNAT;
                                if (first == STAGE_HOST_IN) {
                                    first = STAGE_TUNNEL_HOST_IN;
                                } else {
                                    first = STAGE_TUNNEL_FORWARD_IN;
                                }
                            }
                        } else if (m.target == SIDE_UPLINK) {
                            first = STAGE_HOST_OUT;
                            if (h.tunnelled.isValid()) {
                                first = STAGE_TUNNEL_HOST_OUT;
                            }
                        } else if (m.target == SIDE_POD && m.own == 0) {
                            // The node itself may always talk to its pods: Calico does not police that direction.
                            first = STAGE_FORWARD_OTHER;
                            second = STAGE_INGRESS;
                        }
                        // Neither the first of a connection nor part of one: without a host endpoint that is the host's own affair.
                        if (m.kind == KIND_FOLLOWS) {
                            if (invalid.apply().hit) {
                                // As a new one, and never learned.
                                m.kind = KIND_ICMP;
                                m.learnable = LEARN_NEVER;
                            } else {
                                second = STAGE_NONE;
                                if (m.source == SIDE_POD || m.target == SIDE_POD) {
                                    first = STAGE_NONE;
                                    m.reason = REASON_INVALID;
                                }
                            }
                        }
                        if (m.source == SIDE_UPLINK && m.kind != KIND_FOLLOWS) {
                            DESTINATION(h.floating.was_hi, h.floating.was_lo)
                            WALK(0, before)
                            DESTINATION(h.floating.hi, h.floating.lo)
                            if (h.walk.node >= NODE_ALLOW) {
                                first = STAGE_NONE;
                            } else if (h.walk.node < NODE_UNMATCHED) {
                                first = STAGE_NONE;
                                DENY(REASON_HOST_POLICY)
                            }
                        }
                        if (first != STAGE_NONE) {
                            h.walk.ep = h.flow.src_ep;
                            h.walk.direction = first;
                            // Most pods have one program for all that they send.
                            if (endpoint_root.apply().miss) {
                                if (first == STAGE_EGRESS_TO_HOST) {
                                    h.walk.direction = STAGE_EGRESS;
                                    endpoint_root.apply();
                                }
                            }
                            LEVELS
                            if (h.walk.node >= NODE_ALLOW) {
                                if (m.kind == KIND_FOLLOWS) {
                                    m.reason = REASON_INVALID;
                                }
                            } else if (m.source == SIDE_POD) {
                                DENY(REASON_EGRESS)
                            } else if (h.walk.node < NODE_UNMATCHED) {
                                DENY(REASON_HOST_POLICY)
                            } else if (m.target != SIDE_POD) {
                                m.passed = PASSED_HOST;
                                if (m.kind == KIND_FOLLOWS) {
                                    // Never learned.
                                    m.kind = KIND_ICMP;
                                    m.learnable = LEARN_NEVER;
                                }
                            }
                            if (m.source == SIDE_POD && m.target == SIDE_HOST) {
                                if (m.reason == REASON_NONE && m.host_from_pods == 0) {
                                    m.reason = REASON_HOST;
                                }
                            }
                        }
                    } else if (m.passed == PASSED_UNTRACKED) {
                        m.kind = KIND_ICMP;
                        m.learnable = LEARN_NEVER;
                        if (m.target == SIDE_POD) {
                            second = STAGE_INGRESS;
                        }
                    }
                    if (second != STAGE_NONE && m.reason == REASON_NONE) {
                        WALK(h.flow.dst_ep, second)
                        if (h.walk.node >= NODE_ALLOW) {
                        } else if (m.target == SIDE_POD) {
                            DENY(REASON_INGRESS)
                        } else if (h.walk.node < NODE_UNMATCHED) {
                            DENY(REASON_HOST_POLICY)
                        }
                    }
                }

                // ---- learn ----
                if (m.reason == REASON_NONE) {
                    m.learn = LEARN;
                    if (h.floating.isValid()) {
                        if (h.answer.isValid()) {} else {
                            m.learn = LEARN_FLOATING;
                        }
                    }
                    KEY(h.flow.src_hi, h.flow.src_lo, h.flow.dst_hi, h.flow.dst_lo, h.flow.src_ep, h.flow.dst_ep, h.flow.sport, h.flow.dport)
                    KERNEL_OWN
                    if (m.kind != KIND_ICMP) {
                        ct.apply();
                    } else if (m.learnable == LEARN_ALWAYS || (m.learnable == LEARN_ESTABLISHED && m.passed == PASSED_ESTABLISHED)) {
                        h.connection.sport = h.icmp.id;
                        h.connection.dport = (bit<16>) h.icmp.type;
                        ct.apply();
                    } else {
                        m.learn = FIND;
                    }
                    if (m.fragment == FRAGMENT_FIRST) {
                        FRAGMENT_ID
                        if (fragments.apply().hit) {
                            // An identification that was used before: pieces of both would be taken for each other's.
                            if (h.answer.isValid()) {
                                SAME_AS(h.piece, h.answer.hi, h.answer.lo)
                            } else if (h.piece.isValid()) {
                                m.reason = REASON_TRANSLATION;
                            }
                        }
                    }
                }
            }
        }

        // ---- routed: one hop less, if it fits ----
        if (way == WAY_ROUTED && m.reason == REASON_NONE) {
            // The DSCP of what a pod sends out of the cluster.
            if (h.flow.extras >= MARK_DSCP) {
                if (m.target == SIDE_UPLINK && m.ip_len <= m.mtu) {
                    POD_DSCP
                }
            }
            // The limit of what the pod gets.
            if (h.flow.limit_to != 0) {
                LIMIT(h.flow.limit_to, m.target)
            }
            if (m.ip_len > m.mtu) {
                m.passed = PASSED_TOO_BIG;
                NO_TUNNEL
                if (host_stack.apply().miss) {
                    m.reason = REASON_STACK;
                }
            } else if (h.ipv4.isValid()) {
                h.ipv4.ttl = h.ipv4.ttl - 1;
                // RFC 1624: the word of the time to live is 0x0100 less, so the checksum is 0x0100 more, with the carry.
                if (h.ipv4.checksum >= 0xfeff) {
                    h.ipv4.checksum = h.ipv4.checksum + 0x0101;
                } else {
                    h.ipv4.checksum = h.ipv4.checksum + 0x0100;
                }
            } else {
                h.ipv6.hop_limit = h.ipv6.hop_limit - 1;
            }
        } else if (way == WAY_HOST && m.reason == REASON_NONE) {
            if (m.target == SIDE_POD) {
                if (h.flow.limit_to != 0) {
                    LIMIT(h.flow.limit_to, m.target)
                }
            } else if (h.kernel.isValid()) {
                // Out of the cluster by way of the kernel.
                if (h.flow.extras >= MARK_DSCP) {
                    POD_DSCP
                }
            } else if (m.target == SIDE_UPLINK) {
                h.dscp.setValid();
                if (host_dscp.apply().hit) {
                    if (cluster_pools.apply().miss) {
                        WRITE_DSCP
                    }
                }
            }
        }

        // ---- what few packets need: one question for all of it ----
        if (h.translation.isValid()) {
            if (way != WAY_NONE && m.reason == REASON_NONE) {
                if (h.floating.isValid() || h.answer.isValid() || h.own.isValid() || h.piece.isValid()) {
                    FLOATING_IPS
                }
                if (h.link.isValid()) {
                    // From the host: its routes have the sizes of tunnels, and there is nobody to tell.
                    if (m.ip_len > m.mtu) {
                        m.reason = REASON_STACK;
                    } else {
                        ENCAPSULATE
                    }
                }
            }
        }

        if (m.reason != REASON_NONE) {
            if (m.reason == REASON_AGAIN) {
                recirculate();
            } else {
                reasons.count((bit<32>) m.reason);
                drop_packet();
            }
        } else {
            reasons.count((bit<32>) m.passed);
        }
    }
}

control MainDeparser(packet_out pkt, in headers_t h, in metadata_t m, in pna_main_output_metadata_t ostd) {
    apply {
        if (h.link.isValid()) {
            pkt.emit(h.link);
            pkt.emit(h.outer4);
            pkt.emit(h.outer6);
            pkt.emit(h.vxlan);
        }
        pkt.emit(h.ethernet);
        pkt.emit(h.arp);
        pkt.emit(h.ipv4);
        pkt.emit(h.ipv6);
        pkt.emit(h.fragment);
        pkt.emit(h.tcp);
        pkt.emit(h.udp);
        pkt.emit(h.icmp);
        pkt.emit(h.quoted_ipv4);
        pkt.emit(h.quoted_ipv6);
        pkt.emit(h.neighbour);
        pkt.emit(h.neighbour_option);
    }
}

PNA_NIC(MainParser(), PreControl(), MainControl(), MainDeparser()) main;
