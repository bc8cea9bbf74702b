/** Who reaches whom, over TCP, UDP and ICMP, in both families. */
import type { Namespace } from '../../../e2e/engine/namespaces';
import { eventually } from '../supervisor';
import { TRAFFIC_PORT } from '../traffic';
import type { Cluster } from './cluster';

const WAYS = ['tcp4', 'udp4', 'icmp4', 'tcp6', 'udp6', 'icmp6'] as const;

/** Asks all ways at once; each has a little more than a second. */
const PROBE = `
const [v4, v6] = process.argv.slice(1);
const dgram = require('dgram');
const patience = 1200;
const over = (run) => new Promise((resolve) => { run(resolve); setTimeout(() => resolve(false), patience); });
const tcp = (to) => over((done) => {
  const s = require('net').connect(${TRAFFIC_PORT}, to, () => s.write('x'));
  s.on('data', () => done(true)); s.on('error', () => done(false));
});
const udp = (to) => over((done) => {
  const s = dgram.createSocket(to.includes(':') ? 'udp6' : 'udp4');
  s.on('message', () => done(true)); s.on('error', () => undefined);
  const send = () => s.send('x', ${TRAFFIC_PORT}, to, () => undefined);
  send(); setInterval(send, 300);
});
const icmp = (to) => over((done) => {
  require('child_process').execFile('ping', ['-n', '-c', '4', '-i', '0.3', '-W', '1', '-w', '2', to])
    .stdout.on('data', (d) => { if (String(d).includes('bytes from')) done(true); });
});
Promise.all([tcp(v4), udp(v4), icmp(v4), tcp(v6), udp(v6), icmp(v6)]).then((all) => {
  const ways = ${JSON.stringify(WAYS)};
  console.log(ways.filter((_, i) => all[i]).join(' '));
  process.exit(0);
});
`;

/** `all`, `none`, or which ways were answered. */
export async function ask(
  from: Namespace,
  to: { readonly v4: string; readonly v6: string },
): Promise<string> {
  const said = (await from.run(process.execPath, '-e', PROBE, to.v4, to.v6)).trim();
  return said === WAYS.join(' ') ? 'all' : said === '' ? 'none' : said;
}

/** Lines such as `client -> web: all`, in the order of the questions. */
export async function askAll(
  cluster: Cluster,
  questions: readonly (readonly [string, string])[],
): Promise<readonly string[]> {
  const answers: string[] = [];
  // Not all at once: each is a process, on a machine that has others.
  const width = 3;
  for (let at = 0; at < questions.length; at += width) {
    const some = questions.slice(at, at + width).map(async ([from, to]) => {
      return `${from} -> ${to}: ${await ask(cluster.pod(from).space, cluster.pod(to).addresses)}`;
    });
    answers.push(...(await Promise.all(some)));
  }
  return answers;
}

/**
 * Waits until all answers are those that are wanted.
 *
 * @param wanted lines such as `client -> web: all`
 */
export async function untilReach(cluster: Cluster, wanted: readonly string[]): Promise<void> {
  const questions = wanted.map((line) => line.split(/ -> |: /).slice(0, 2) as [string, string]);
  await eventually(
    wanted.join(', '),
    async () => {
      const found = await askAll(cluster, questions);
      const wrong = found.filter((line, at) => line !== wanted[at]);
      if (wrong.length > 0) throw new Error(wrong.join(', '));
      return true;
    },
    { logs: cluster.logs(), seconds: 25 },
  );
}
