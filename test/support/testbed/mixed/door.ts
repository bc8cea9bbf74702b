/**
 * A way from network namespaces to the API server, which listens on the loopback interface of the test alone: in each namespace a
 * process listens at the same address, and hands connections over by a unix socket.
 */
import { rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import path from 'node:path';
import type { Namespace } from '../../../e2e/engine/namespaces';

export interface Door {
  /** Returns when connections in the namespace are taken. */
  open(space: Namespace): Promise<{ readonly stop: () => void }>;
  readonly stop: () => void;
}

const AT_NODE = (port: number, socket: string): string => `
const net = require('net');
net.createServer((near) => {
  const far = net.connect(${JSON.stringify(socket)});
  for (const [a, b] of [[near, far], [far, near]]) { a.pipe(b); a.on('error', () => b.destroy()); a.on('close', () => b.destroy()); }
}).listen(${port}, '127.0.0.1', () => console.log('ready'));
`;

export async function startDoor(folder: string, port: number): Promise<Door> {
  const socket = path.join(folder, 'door.sock');
  const open = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    for (const [a, b] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(a);
      a.pipe(b);
      a.on('error', () => b.destroy());
      a.on('close', () => {
        open.delete(a);
        b.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return {
    async open(space) {
      const child = await space.serve(AT_NODE(port, socket));
      return { stop: () => child.kill('SIGKILL') };
    },
    stop: () => {
      server.close();
      for (const one of open) one.destroy();
      rmSync(socket, { force: true });
    },
  };
}
