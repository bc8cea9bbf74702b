// SPDX-License-Identifier: Apache-2.0
// Headers and metadata. Every field is a whole number of bytes (SWX), IPv6 addresses are two halves of 64 bits
// (DPDK 22.11 refuses most 128-bit operations), and each struct stays under 256 bytes: SWX keeps operand offsets in
// one byte and truncates silently, which would alias fields.

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> ether_type;
}

// Ethernet and IPv4.
header arp_t {
    bit<16> hardware;
    bit<16> protocol;
    bit<8>  hardware_len;
    bit<8>  protocol_len;
    bit<16> operation;
    bit<48> sender_mac;
    bit<32> sender_ip;
    bit<48> target_mac;
    bit<32> target_ip;
}

header ipv4_t {
    bit<8>  version_ihl;
    bit<8>  tos;
    bit<16> total_len;
    bit<16> id;
    bit<16> flags_offset;
    bit<8>  ttl;
    bit<8>  protocol;
    bit<16> checksum;
    bit<32> src;
    bit<32> dst;
}

header ipv6_t {
    bit<32> version_class_flow;
    bit<16> payload_len;
    bit<8>  next_header;
    bit<8>  hop_limit;
    bit<64> src_hi;
    bit<64> src_lo;
    bit<64> dst_hi;
    bit<64> dst_lo;
}

header ipv6_fragment_t {
    bit<8>  next_header;
    bit<8>  reserved;
    bit<16> offset_flags;
    bit<32> id;
}

header tcp_t {
    bit<16> sport;
    bit<16> dport;
    bit<32> seq;
    bit<32> ack;
    bit<8>  data_offset;
    bit<8>  flags;
    bit<16> window;
    bit<16> checksum;
    bit<16> urgent;
}

// UDP and UDP-Lite.
header udp_t {
    bit<16> sport;
    bit<16> dport;
    bit<16> length;
    bit<16> checksum;
}
// What a VXLAN packet has behind it (RFC 7348): looked at only.
header within_udp_t {
    bit<32> flags;
    bit<32> vni;
    bit<48> dst;
}

// UDP and VXLAN of a tunnel: sixteen bytes, which one instruction sums up. vni: the VNI in the upper 24 bits.
header vxlan_t {
    bit<16> sport;
    bit<16> dport;
    bit<16> length;
    bit<16> checksum;
    bit<32> flags;
    bit<32> vni;
}

// The common header and the start of the first chunk.
header sctp_t {
    bit<16> sport;
    bit<16> dport;
    bit<32> tag;
    bit<32> checksum;
    bit<8>  chunk_type;
    bit<8>  chunk_flags;
    bit<16> chunk_length;
}

// ICMP and ICMPv6.
header icmp_t {
    bit<8>  type;
    bit<8>  code;
    bit<16> checksum;
    bit<16> id;
    bit<16> seq;
}

// Neighbour solicitations and advertisements: what follows icmp_t, whose last four bytes are their flags.
header neighbour_t {
    bit<64> target_hi;
    bit<64> target_lo;
}
header neighbour_option_t {
    bit<8>  type;
    bit<8>  length;          // in units of 8 bytes
    bit<48> mac;
}

// A packet that an ICMP error quotes, with the first eight bytes of its transport header.
header quoted_ipv4_t {
    bit<8>  version_ihl;
    bit<8>  tos;
    bit<16> total_len;
    bit<16> id;
    bit<16> flags_offset;
    bit<8>  ttl;
    bit<8>  protocol;
    bit<16> checksum;
    bit<32> src;
    bit<32> dst;
    bit<16> sport;           // ICMP: type * 256 + code
    bit<16> dport;           // ICMP: checksum
    bit<16> icmp_id;
    bit<16> icmp_seq;
}
header quoted_ipv6_t {
    bit<32> version_class_flow;
    bit<16> payload_len;
    bit<8>  protocol;
    bit<8>  hop_limit;
    bit<64> src_hi;
    bit<64> src_lo;
    bit<64> dst_hi;
    bit<64> dst_lo;
    bit<16> sport;
    bit<16> dport;
    bit<16> icmp_id;
    bit<16> icmp_seq;
}

// ---- headers that are never on the wire: room for fields -------------------------------------------------------
// SWX allows 255 bytes of metadata, p4c's own temporaries included; these are made valid where they are needed
// and never emitted. Keys of a table stand next to each other in one of them, so that p4c need not copy them together.

// The packet, both families in one form: IPv4 a.b.c.d is ::ffff:a.b.c.d.
header flow_t {
    bit<32> dst_ep;          // endpoint id of the pod it goes to; 0: not to a pod
    bit<32> fragment_id;
    bit<32> src_ep;          // endpoint id of the pod it came from; 0: not from a pod
    bit<64> src_hi;
    bit<64> src_lo;
    bit<64> dst_hi;
    bit<64> dst_lo;
    bit<8>  proto;
    bit<16> dport;           // 0 where the protocol has no ports; ICMP: type * 256 + code
    bit<32> port;            // it came in by
    bit<16> sport;           // 0 where the protocol has no ports
    // Limits and DSCP of pods; written by the actions of port_in, local and default_route.
    bit<32> extras;          // of the sender: the number of the meters for what it sends, 0: no limit; plus MARK_DSCP
    bit<32> limit_to;        // the number of the meters for what the receiver gets, 0: no limit
    bit<32> number;
    bit<32> frame_len;
}

// Key of the connection table.
header connection_t {
    bit<64> src_hi;
    bit<64> src_lo;
    bit<64> dst_hi;
    bit<64> dst_lo;
    bit<32> src_ep;
    bit<32> dst_ep;
    bit<16> sport;           // ICMP queries: the identifier
    bit<16> dport;           // ICMP queries: the type
    bit<8>  proto;
}

// The walk through the decision diagrams.
header walk_t {
    bit<32> ep;
    bit<8>  direction;       // DIRECTION_*
    bit<32> page;            // which label each bit of w0..w7 stands for
    bit<64> address_hi;      // the address whose labels are asked for
    bit<64> address_lo;
    bit<32> node;
    // First the mask of the node, then the labels of the address or, in w0 to w3, of the port that it asks for.
    bit<64> w0;
    bit<64> w1;
    bit<64> w2;
    bit<64> w3;
    bit<64> w4;
    bit<64> w5;
    bit<64> w6;
    bit<64> w7;
    // The node to go on with when the table of that level misses.
    bit<32> on_src;
    bit<32> on_dst;
    bit<32> on_proto;
    bit<32> on_dport;
    bit<32> on_sport;
}

// What the checksum of an ICMPv6 message covers before the message.
header pseudo_t {
    bit<64> src_hi;
    bit<64> src_lo;
    bit<64> dst_hi;
    bit<64> dst_lo;
    bit<32> length;
    bit<32> next_header;
}

// Floating IPs. Addresses of IPv4 stand here twice: p4c makes much of a cast to fewer bits.
header address_t {
    bit<64> hi;
    bit<64> lo;
    bit<32> ipv4;
}
// What `local` says of a floating IP, and which one it is.
header floating_t {
    bit<64> hi;              // the pod's own address
    bit<64> lo;
    bit<32> ipv4;
    bit<64> back_hi;         // who the pod is to itself, when it sends to this floating IP of its own
    bit<64> back_lo;
    bit<32> back_ipv4;
    bit<64> was_hi;
    bit<64> was_lo;
    bit<32> was_ipv4;
}
// The packet's ends, or those of the packet that it quotes, before and after.
header translation_t {
    bit<64> old_src_hi;
    bit<64> old_src_lo;
    bit<64> old_dst_hi;
    bit<64> old_dst_lo;
    bit<64> src_hi;
    bit<64> src_lo;
    bit<64> dst_hi;
    bit<64> dst_lo;
    bit<32> old_src;         // these four of IPv4
    bit<32> old_dst;
    bit<32> src;
    bit<32> dst;
    bit<16> complement;
}

// Room to set the DSCP in.
header dscp_t {
    bit<8>  tos;
    bit<32> traffic_class;
    bit<16> old_word;
    bit<16> new_word;
    bit<16> complement;
}

// What packets of a tunnel that ends here must be like, as tunnel_here says.
header tunnel_t {
    bit<64> src_hi;          // key of tunnel_peer
    bit<64> src_lo;
    bit<8>  proto;
    bit<48> mac;
    bit<48> inner_mac;
    bit<32> vni;
}

// Key of next_hop.
header hop_t {
    bit<8>  kind;            // HOP_*
    bit<64> hop_hi;
    bit<64> hop_lo;
}

// Room to sum up what a tunnel's UDP checksum covers.
header sums_t {
    bit<8>  ttl;             // as the packet leaves
    bit<16> pair;            // next header and hop limit
    bit<16> next;
    bit<8>  known;
    bit<32> ecn;
}

// Only whether it is valid matters: a mark that nobody need clear.
header mark_t {
    bit<8>  unused;
}

struct headers_t {
    ethernet_t      link;             // of the frame around a tunnel's packet
    ipv4_t          outer4;
    ipv6_t          outer6;
    vxlan_t         vxlan;
    ethernet_t      ethernet;         // of the frame; in a VXLAN packet that leaves, of the frame within
    arp_t           arp;
    ipv4_t          ipv4;
    ipv6_t          ipv6;
    ipv6_fragment_t fragment;
    tcp_t           tcp;
    udp_t           udp;
    sctp_t          sctp;
    icmp_t          icmp;
    neighbour_t     neighbour;
    neighbour_option_t neighbour_option;
    quoted_ipv4_t   quoted_ipv4;
    quoted_ipv6_t   quoted_ipv6;
    flow_t          flow;
    connection_t    connection;
    walk_t          walk;
    pseudo_t        pseudo;
    dscp_t          dscp;
    translation_t   translation; // valid: an address has to be looked at, at the end, or the packet goes into a tunnel
    floating_t      floating;    // valid: it was sent to a floating IP, and the flow has the pod's own address
    address_t       answer;      // valid: it is of a connection to this floating IP, and goes back
    address_t       own;         // valid: the connection's entry of its own direction says that it is to this floating IP
    address_t       piece;       // the same of `fragments`
    ipv4_t          was4;             // the headers that a packet of a tunnel had around it
    ipv6_t          was6;
    vxlan_t         was_vxlan;
    within_udp_t    within;
    ethernet_t      inner;
    tunnel_t        tunnel;
    hop_t           hop;
    sums_t          sums;
    mark_t          tunnelled;        // from the uplink: it came out of a tunnel; else it goes into one, or one of the kernel's
    mark_t          kernel;           // the kernel routes it on
}

struct metadata_t {
    bit<8>  fragment;        // FRAGMENT_*
    bit<32> ip_len;          // bytes from the IP header on
    bit<32> least;           // what that must be at least, by the headers that are known
    bit<8>  ttl;             // time to live or hop limit

    // Where it comes from and goes to; written by the actions of port_in, local and default_route.
    bit<8>  source;          // SIDE_*
    bit<8>  target;          // SIDE_*
    bit<48> mac;             // what frames from there are addressed to: the node's own at that port
    bit<32> mtu;             // of the way to a pod or to the uplink
    bit<8>  own;             // from the host: 1 if from one of the node's own addresses
    bit<8>  host_from_pods;  // to the host only

    // Connection tracking.
    bit<8>  kind;            // KIND_*
    bit<8>  learnable;       // LEARN_*, of ICMP
    bit<8>  learn;
    bit<8>  timer;           // TIMER_*
    ExpireTimeProfileId_t lifetime;

    PNA_MeterColor_t colour; // of a meter

    // A packet that came in a tunnel is looked at twice: what the second look is told. Not 0 between the two only.
    bit<8>  again;           // AGAIN_*
    bit<32> room;            // bytes that are left for the packet within

    bit<8>  reason;          // REASON_*: 0 as long as nothing speaks against the packet
    bit<8>  passed;          // PASSED_*: why it may go
}
