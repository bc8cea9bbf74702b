/** Real streams of Felix's, cut after every few frames: between any two writes no packet gets what neither state gives. */
import { createFelixSession } from '../../src/driver/felix/felix-session';
import type { FelixModel } from '../../src/model/model';
import { makePacket } from '../../src/packet/describe';
import type { NodePacket } from '../support/arbitraries';
import { framesOf, recording, testWith } from '../unit/driver/felix/recordings';
import { startAtomicNode, statsText } from './support/atomicity';
import { TARGET_KINDS } from './support/embedded-node';

interface Cut {
  readonly name: string;
  /** Frames in a batch, after InSync. */
  readonly batch: number;
  /** The large ones: so many batches, from this frame on. */
  readonly sample?: { readonly from: number; readonly batches: number };
  /** A minute: CALICO_P4_TEST_SCALE=1. */
  readonly onlyWhenAsked?: boolean;
}

const CUTS: readonly Cut[] = [
  ...[
    '01-minimal',
    '02-policy',
    '03-vxlan-routes',
    '04-ipip-noencap-routes',
    '04b-ipip-default-routes',
    '06-config-changes',
    '06-config-changes-run5',
    '07-k8s-via-typha',
  ].map((name) => ({ name, batch: 1 })),
  ...['3.26.5', '3.29.7', '3.30.7', '3.32.1', '3.33.0-pre'].map((release) => ({
    name: `release-${release}`,
    batch: 3,
  })),
  // Where its steps begin: remote pods, pods of the node, policies, a tier's order, the end of all policies.
  { name: '08s-scale-small', batch: 20, sample: { from: 494, batches: 12 } },
  { name: '08s-scale-small', batch: 20, sample: { from: 1230, batches: 12 } },
  { name: '08s-scale-small', batch: 20, sample: { from: 1789, batches: 6 } },
  { name: '08s-scale-small', batch: 15, sample: { from: 3839, batches: 3 } },
  { name: '08s-scale-small', batch: 27, sample: { from: 3884, batches: 7 } },
  { name: '08-scale', batch: 256, sample: { from: 3951, batches: 3 }, onlyWhenAsked: true },
];

const PACKETS = 60;

describe.each(TARGET_KINDS)('on a target of kind %s', (kind) => {
  for (const { name, batch, sample, onlyWhenAsked = false } of CUTS) {
    const here = onlyWhenAsked && process.env['CALICO_P4_TEST_SCALE'] !== '1' ? test.skip : testWith(name);
    here(
      `${name}, cut after every ${batch} frames${sample === undefined ? '' : ` from frame ${sample.from}`}`,
      async () => {
        const atomic = await startAtomicNode({
          kind,
          oracle: 'target',
          ...(sample === undefined ? {} : { every: 7, everyNode: 97 }),
        });
        try {
          const session = createFelixSession();
          const frames = framesOf(recording(name));
          const end = sample === undefined ? frames.length : sample.from + sample.batches * batch;
          let waiting = 0;
          let steps = 0;
          for (const frame of frames.slice(0, end)) {
            session.push(frame);
            waiting++;
            const first = sample?.from ?? 0;
            if (!session.model.inSync || session.frames < first || (waiting < batch && session.frames < end))
              continue;
            waiting = 0;
            steps++;
            await atomic.step(session.model, steps === 1 ? [] : packetsOf(session.model, steps));
          }
          expect(steps).toBeGreaterThan(0);
        } finally {
          console.info(`${name}, ${kind}: ${statsText(atomic.stats)}`);
          await atomic.stop();
        }
      },
      120_000,
    );
  }
});

/** Between pods, and between pods and all that the policies speak of. The choice is the same in every run. */
function packetsOf(model: FelixModel, step: number): readonly NodePacket[] {
  const pods = [...model.workloads.values()].filter((w) => w.ipv4Nets.length > 0);
  if (pods.length === 0) return [];
  const members = [...model.ipSets.values()].flatMap((set) => [...set.members].slice(0, 20));
  const others = [
    ...members.map((member) => member.split(/[,/]/)[0]!),
    ...pods.map((pod) => pod.ipv4Nets[0]!.split('/')[0]!),
    '8.8.8.8',
  ].filter((address) => !address.includes(':') && address !== '0.0.0.0');
  const rules = [...model.policies.values()].flatMap((p) => [...p.inboundRules, ...p.outboundRules]);
  const ports = [...new Set([80, 8080, ...rules.flatMap((rule) => rule.dstPorts.map((r) => r.first))])];
  const own = new Set(pods.flatMap((pod) => pod.ipv4Nets.map((net) => net.split('/')[0]!)));
  return Array.from({ length: PACKETS }, (_, i) => {
    // Steps that share no factor with the lists' lengths, most of the time.
    const pod = pods[(i * 7 + step) % pods.length]!;
    const address = pod.ipv4Nets[0]!.split('/')[0]!;
    const other = others[(i * 31 + step * 13) % others.length]!;
    const sending = i % 2 === 0 || own.has(other);
    return {
      from: sending ? pod.name : 'uplink',
      packet: makePacket({
        src: sending ? address : other,
        dst: sending ? other : address,
        proto: i % 5 === 0 ? 17 : 6,
        sport: 40_000,
        dport: ports[(i * 3 + step) % ports.length]!,
      }),
    };
  });
}
