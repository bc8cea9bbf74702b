/**
 * A node that is only a packet socket: IPIP packets to it are handed to the test, and the test says what it sends. The kernels that the
 * tests run on need no ipip device for it.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Namespace } from '../../../e2e/engine/namespaces';
import { internetChecksum } from '../../../../src/packet/checksum';
import { eventually } from '../supervisor';

export interface IpipPeer {
  /** The next IPIP frame for which it is true; others before it are dropped. */
  next(wanted: (frame: Buffer) => boolean): Promise<Buffer>;
  /** Forgets the frames that have come. */
  forget(): void;
  /** Puts a whole frame on the network. */
  send(frame: Uint8Array): void;
  readonly stop: () => void;
}

/** A raw socket for protocol 4 keeps the kernel from answering that it does not know it. */
const SOCKET = `
import socket, sys, threading
quiet = socket.socket(socket.AF_INET, socket.SOCK_RAW, 4)
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.bind(('eth0', 0))
print('ready', flush=True)
def receive():
    while True:
        frame, (_, _, kind, _, _) = wire.recvfrom(65535)
        if kind != socket.PACKET_OUTGOING and frame[12:14] == b'\\x08\\x00' and frame[23] == 4:
            print(frame.hex(), flush=True)
threading.Thread(target=receive, daemon=True).start()
for line in sys.stdin:
    wire.send(bytes.fromhex(line.strip()))
`;

export async function startIpipPeer(at: Namespace): Promise<IpipPeer> {
  const child = spawn('ip', ['netns', 'exec', at.name, 'python3', '-c', SOCKET], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let frames: Buffer[] = [];
  let ready = false;
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line === 'ready') ready = true;
    else frames.push(Buffer.from(line, 'hex'));
  });
  child.stdin.on('error', () => undefined);
  const stop = (): void => {
    child.kill('SIGKILL');
  };
  try {
    await eventually('the packet socket', () => ready || undefined, { seconds: 15 });
  } catch (error) {
    stop();
    throw error;
  }
  return {
    next: (wanted) =>
      eventually(
        'an IPIP frame',
        () => {
          const at = frames.findIndex(wanted);
          if (at < 0) return undefined;
          const [found] = frames.splice(0, at + 1).slice(-1);
          return found;
        },
        { seconds: 10 },
      ),
    forget() {
      frames = [];
    },
    send(frame) {
      child.stdin.write(`${Buffer.from(frame).toString('hex')}\n`);
    },
    stop,
  };
}

/** An IPv4 header without options. */
export interface Outer {
  readonly tos: number;
  readonly length: number;
  readonly id: number;
  /** Flags and fragment offset. */
  readonly fragment: number;
  readonly ttl: number;
  readonly proto: number;
  readonly src: string;
  readonly dst: string;
}

export function ipv4Header({ tos, length, id, fragment, ttl, proto, src, dst }: Outer): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt8(0x45, 0);
  header.writeUInt8(tos, 1);
  header.writeUInt16BE(length, 2);
  header.writeUInt16BE(id, 4);
  header.writeUInt16BE(fragment, 6);
  header.writeUInt8(ttl, 8);
  header.writeUInt8(proto, 9);
  Buffer.from([...src.split('.'), ...dst.split('.')].map(Number)).copy(header, 12);
  header.writeUInt16BE(internetChecksum(header), 10);
  return header;
}

export function ethernet(dst: string, src: string): Buffer {
  return Buffer.from(`${dst}${src}0800`.replaceAll(':', ''), 'hex');
}

/** The UDP packet that goes back: both ways have the same checksums. */
export function backwards(packet: Buffer): Buffer {
  const back = Buffer.from(packet);
  packet.copy(back, 12, 16, 20);
  packet.copy(back, 16, 12, 16);
  packet.copy(back, 20, 22, 24);
  packet.copy(back, 22, 20, 22);
  return back;
}
