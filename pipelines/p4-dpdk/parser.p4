// SPDX-License-Identifier: Apache-2.0
// The parser extracts and decides nothing: in SWX a reject equals an accept. What it does not understand it leaves
// unextracted, and the control drops it.

parser MainParser(packet_in pkt, out headers_t h, inout metadata_t m, in pna_main_parser_input_metadata_t istd) {
    state start {
        pkt.extract(h.ethernet);
        transition select(h.ethernet.ether_type) {
            0x0800: ipv4;
            0x0806: arp;
            0x86dd: ipv6;
            default: accept;
        }
    }

    state arp {
        pkt.extract(h.arp);
        transition accept;
    }

    state ipv4 {
        pkt.extract(h.ipv4);
        transition select(h.ipv4.version_ihl) {
            0x45: ipv4_offset;
            default: accept;
        }
    }
    state ipv4_offset {
        transition select(h.ipv4.flags_offset) {
            0x0000 &&& 0x1fff: ipv4_transport;
            default: accept;
        }
    }
    state ipv4_transport {
        transition select(h.ipv4.protocol) {
            1: icmp4;
            6: tcp;
            17: udp;
            58: icmp6;
            132: sctp;
            136: udp;
            default: accept;
        }
    }

    state ipv6 {
        pkt.extract(h.ipv6);
        transition select(h.ipv6.next_header) {
            1: icmp4;
            6: tcp;
            17: udp;
            44: ipv6_fragment;
            58: icmp6_whole;
            132: sctp;
            136: udp;
            default: accept;
        }
    }
    state ipv6_fragment {
        pkt.extract(h.fragment);
        transition select(h.fragment.offset_flags) {
            0x0000 &&& 0xfff8: ipv6_fragment_transport;
            default: accept;
        }
    }
    state ipv6_fragment_transport {
        transition select(h.fragment.next_header) {
            1: icmp4;
            6: tcp;
            17: udp;
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
        transition accept;
    }
    state sctp {
        pkt.extract(h.sctp);
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
        transition select(h.quoted_ipv4.version_ihl) {
            0x45: quoted_ipv4_offset;
            default: accept;
        }
    }
    state quoted_ipv4_offset {
        transition select(h.quoted_ipv4.flags_offset) {
            0x0000 &&& 0x1fff: quoted_ipv4_transport;
            default: accept;
        }
    }
    state quoted_ipv4_transport {
        transition select(h.quoted_ipv4.protocol) {
            1: quoted_icmp;
            6: quoted_ports;
            17: quoted_ports;
            132: quoted_ports;
            136: quoted_ports;
            default: accept;
        }
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
        transition select(h.quoted_ipv6.next_header) {
            6: quoted_ports;
            17: quoted_ports;
            58: quoted_icmp;
            132: quoted_ports;
            136: quoted_ports;
            default: accept;
        }
    }
    state quoted_ports {
        pkt.extract(h.quoted_ports);
        transition accept;
    }
    state quoted_icmp {
        pkt.extract(h.quoted_icmp);
        transition accept;
    }
}
