// SPDX-License-Identifier: Apache-2.0
// The parser finds headers, brings IPv4 and IPv6 into one form, and says whether the packet is a fragment. What it does
// not understand it leaves alone, and the control drops it: in SWX a reject equals an accept.
// What the control may change is extracted, and emitted again. What it only reads is looked at and stays part of the
// payload: each header less to emit is an instruction less for every packet.

const bit<8> REASON_NONE = 0;
const bit<8> REASON_UNSUPPORTED = 1;

const bit<8> FRAGMENT_NONE = 0;
const bit<8> FRAGMENT_FIRST = 1;
const bit<8> FRAGMENT_LATER = 2;

// What the second look at a packet has to take off. The first one puts ETHERTYPE_AGAIN into the frame; on the wire it means
// nothing, as m.again is 0 then.
const bit<8> AGAIN_NO = 0;
const bit<8> AGAIN_VXLAN4 = 1;
const bit<8> AGAIN_VXLAN6 = 2;
const bit<8> AGAIN_IPIP = 3;
const bit<16> ETHERTYPE_AGAIN = 0;

// IPv4 a.b.c.d is ::ffff:a.b.c.d.
const bit<64> IPV4_MAPPED = 0x0000ffff00000000;

parser MainParser(packet_in pkt, out headers_t h, inout metadata_t m, in pna_main_parser_input_metadata_t istd) {
    state start {
        m.reason = REASON_NONE;
        m.fragment = FRAGMENT_NONE;
        h.flow.setValid();
        h.connection.setValid();
        pkt.extract(h.ethernet);
        transition select(h.ethernet.ether_type) {
            0x0800: ipv4;
            0x86dd: ipv6;
            0x0806: arp;
            ETHERTYPE_AGAIN: again;
            default: unsupported;
        }
    }

    // The headers around a packet that came in a tunnel, which the first look has checked. They are not emitted.
    state again {
        transition select(m.again) {
            AGAIN_VXLAN4: again_vxlan4;
            AGAIN_VXLAN6: again_vxlan6;
            AGAIN_IPIP: again_ipip;
            default: unsupported;
        }
    }
    state again_ipip {
        m.again = AGAIN_NO;
        pkt.extract(h.was4);
        h.tunnelled.setValid();
        h.ethernet.ether_type = 0x0800;
        transition ipv4;
    }
    state again_vxlan4 {
        pkt.extract(h.was4);
        transition again_vxlan;
    }
    state again_vxlan6 {
        pkt.extract(h.was6);
        transition again_vxlan;
    }
    state again_vxlan {
        m.again = AGAIN_NO;
        pkt.extract(h.was_vxlan);
        pkt.extract(h.inner);
        h.tunnelled.setValid();
        h.ethernet.ether_type = h.inner.ether_type;
        transition select(h.inner.ether_type) {
            0x0800: ipv4;
            0x86dd: ipv6;
            default: unsupported;
        }
    }

    state arp {
        pkt.extract(h.arp);
        h.flow.src_hi = 0;
        m.ip_len = 0;
        m.least = 0;
        transition accept;
    }

    // Options are refused, as Calico's eBPF dataplane does.
    state ipv4 {
        pkt.extract(h.ipv4);
        h.flow.src_hi = 0;
        h.flow.src_lo = (bit<64>) h.ipv4.src;
        h.flow.dst_hi = 0;
        h.flow.dst_lo = (bit<64>) h.ipv4.dst;
        h.flow.proto = h.ipv4.protocol;
        m.ip_len = (bit<32>) h.ipv4.total_len;
        m.least = 20;
        m.ttl = h.ipv4.ttl;
        transition select(h.ipv4.version_ihl) {
            0x45: ipv4_offset;
            default: unsupported;
        }
    }
    state unsupported {
        m.reason = REASON_UNSUPPORTED;
        m.ip_len = 0;
        m.least = 0;
        transition accept;
    }
    state ipv4_offset {
        h.flow.src_lo = h.flow.src_lo + IPV4_MAPPED;
        h.flow.dst_lo = h.flow.dst_lo + IPV4_MAPPED;
        transition select(h.ipv4.flags_offset) {
            0x0000 &&& 0x3fff: ipv4_transport;
            0x2000 &&& 0x3fff: ipv4_first;
            default: later;
        }
    }
    state ipv4_first {
        m.fragment = FRAGMENT_FIRST;
        transition ipv4_transport;
    }
    state later {
        m.fragment = FRAGMENT_LATER;
        transition accept;
    }
    state ipv4_transport {
        transition select(h.ipv4.protocol) {
            6: tcp;
            17: udp;
            1: icmp4;
            58: icmp6;
            132: sctp;
            136: udp;
            default: accept;
        }
    }

    state ipv6 {
        pkt.extract(h.ipv6);
        h.flow.src_hi = h.ipv6.src_hi;
        h.flow.src_lo = h.ipv6.src_lo;
        h.flow.dst_hi = h.ipv6.dst_hi;
        h.flow.dst_lo = h.ipv6.dst_lo;
        h.flow.proto = h.ipv6.next_header;
        m.ip_len = 40 + (bit<32>) h.ipv6.payload_len;
        m.least = 40;
        m.ttl = h.ipv6.hop_limit;
        transition select(h.ipv6.next_header) {
            6: tcp;
            17: udp;
            1: icmp4;
            44: ipv6_fragment;
            58: icmp6_whole;
            132: sctp;
            136: udp;
            default: accept;
        }
    }
    state ipv6_fragment {
        pkt.extract(h.fragment);
        h.flow.proto = h.fragment.next_header;
        m.least = 48;
        transition select(h.fragment.offset_flags) {
            0x0000 &&& 0xfff9: ipv6_fragment_transport;
            0x0001 &&& 0xfff9: ipv6_first;
            default: later;
        }
    }
    state ipv6_first {
        m.fragment = FRAGMENT_FIRST;
        transition ipv6_fragment_transport;
    }
    state ipv6_fragment_transport {
        transition select(h.fragment.next_header) {
            6: tcp;
            17: udp;
            1: icmp4;
            58: icmp6;
            132: sctp;
            136: udp;
            default: accept;
        }
    }

    state tcp {
        pkt.extract(h.tcp);
        transition accept;
    }
    state udp {
        pkt.extract(h.udp);
        h.within = pkt.lookahead<within_udp_t>();
        transition accept;
    }
    state sctp {
        h.sctp = pkt.lookahead<sctp_t>();
        transition accept;
    }

    // Errors quote the packet they are about: what is needed to find its connection.
    state icmp4 {
        pkt.extract(h.icmp);
        transition select(h.icmp.type) {
            3: quoted_ipv4;
            4: quoted_ipv4;
            5: quoted_ipv4;
            11: quoted_ipv4;
            12: quoted_ipv4;
            default: accept;
        }
    }
    state quoted_ipv4 {
        pkt.extract(h.quoted_ipv4);
        transition accept;
    }
    state icmp6 {
        pkt.extract(h.icmp);
        transition select(h.icmp.type) {
            1: quoted_ipv6;
            2: quoted_ipv6;
            3: quoted_ipv6;
            4: quoted_ipv6;
            default: accept;
        }
    }
    // As icmp6, right behind an IPv6 header: neighbour discovery is understood there only (RFC 6980).
    state icmp6_whole {
        pkt.extract(h.icmp);
        transition select(h.icmp.type) {
            1: quoted_ipv6;
            2: quoted_ipv6;
            3: quoted_ipv6;
            4: quoted_ipv6;
            135: neighbour;
            default: accept;
        }
    }
    state neighbour {
        pkt.extract(h.neighbour);
        transition select(h.ipv6.payload_len) {
            32: neighbour_option;
            default: accept;
        }
    }
    state neighbour_option {
        pkt.extract(h.neighbour_option);
        transition accept;
    }
    state quoted_ipv6 {
        pkt.extract(h.quoted_ipv6);
        transition accept;
    }
}
