/** Who pods are to the world outside of the cluster. */
import type { Namespace } from '../../../e2e/engine/namespaces';
import { WORLD } from './lan';

const PORT = 9;

/** Tells everybody who connects, or sends a datagram, from which address it came. */
const MIRROR = `
const plain = (address) => address.replace('::ffff:', '');
const udp = require('dgram').createSocket('udp6');
udp.on('message', (m, from) => udp.send(plain(from.address), from.port, from.address, () => undefined));
const tcp = require('net').createServer((s) => { s.on('error', () => undefined); s.end(plain(s.remoteAddress)); });
udp.bind(${PORT}, '::', () => tcp.listen(${PORT}, '::', () => console.log('ready')));
`;

const ASK = `
const { v4, v6 } = ${JSON.stringify(WORLD)};
const tcp = (to) => new Promise((done) => {
  const s = require('net').connect(${PORT}, to);
  s.on('data', (d) => done(String(d)));
  s.on('error', (e) => done(e.code));
  setTimeout(() => done('silence'), 1500);
});
const udp = (to) => new Promise((done) => {
  const s = require('dgram').createSocket(to.includes(':') ? 'udp6' : 'udp4');
  s.on('message', (m) => done(String(m)));
  const send = () => s.send('who', ${PORT}, to, () => undefined);
  send();
  setInterval(send, 300);
  setTimeout(() => done('silence'), 1500);
});
Promise.all([tcp(v4), udp(v4), tcp(v6), udp(v6)]).then((all) => { console.log(all.join(' ')); process.exit(0); });
`;

export async function startMirror(world: Namespace): Promise<{ readonly stop: () => void }> {
  const child = await world.serve(MIRROR);
  return { stop: () => child.kill('SIGKILL') };
}

/** As whom the world sees a namespace: over TCP and UDP with IPv4, and with IPv6. */
export function seenAs(from: Namespace): Promise<string> {
  return from.node(ASK);
}
