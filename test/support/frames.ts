import { buildFrame } from '../../src/packet/build';
import type { Packet } from '../../src/packet/packet';
import { EMBEDDED_LINKS, spellMac } from '../../src/translators/links';

/** P4 port of the uplink on every embedded switch of the tests. */
const UPLINK = 0;

/** A frame that comes in at `port` of a node with the links of the embedded switch, addressed to the node. */
export function frameAt(port: number, packet: Packet): Uint8Array {
  return buildFrame(packet, { dstMac: nodeMac(port) });
}

/** What frames at `port` are addressed to. */
export function nodeMac(port: number): string {
  return spellMac(port === UPLINK ? EMBEDDED_LINKS.uplinkMac! : EMBEDDED_LINKS.gatewayMac);
}
