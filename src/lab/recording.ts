/** A recorded Felix as that of a lab: pods for its active endpoints, and its frames as they are. */
import { createReadStream, readFileSync } from 'node:fs';
import { createFelixLink } from '../driver/felix/felix-link';
import { type StopAt, requireReadable } from '../cli/stream';
import { CalicoP4Error } from '../errors';
import type { FelixModel, WorkloadEndpoint } from '../model/model';
import { parseCidr } from '../translators/address';
import { activeWorkloads } from '../translators/endpoints';
import { podMac, spellMac } from '../translators/links';
import { HOST, type LabPod, OUTSIDE, OUTSIDE_IPS } from './places';
import type { LabPlan } from './plan';

/** A length of eight bytes, little-endian, is before each message. */
const LENGTH = 8;

/**
 * @param at where it ends
 * @param most pods that are made; the others are endpoints that nobody is behind
 * @throws CalicoP4Error USAGE when no pod of it can be made; FELIX_* for a stream that is none
 */
export async function readRecording(path: string, at: StopAt, most: number): Promise<LabPlan> {
  requireReadable(path);
  const input = createReadStream(path, { highWaterMark: 1024 * 1024 });
  const link = createFelixLink({
    input,
    endsNormally: true,
    ...(at === 'end' ? {} : { until: at === 'insync' ? 'in-sync' : at + 1 }),
  });
  let frames = 0;
  try {
    for await (const batch of link) frames = batch.frame + 1;
  } finally {
    link.close();
    input.destroy();
  }
  const { model } = link;
  if (!model.inSync)
    throw new CalicoP4Error(
      'USAGE',
      `${path}: ${frames} frames, and Felix is not in sync by then: nothing would be enforced, and no pod open; see --at`,
    );
  const endpoints = activeWorkloads(model).filter(
    (endpoint) => endpoint.state === 'active' && addressesOf(endpoint).length > 0,
  );
  if (endpoints.length === 0)
    throw new CalicoP4Error(
      'USAGE',
      `${path}: after ${frames} frames there is no active endpoint with an address: no pod to make; see --at`,
    );
  const made = endpoints.slice(0, most);
  const names = namesOf(made);
  return {
    pods: made.map((endpoint, i): LabPod => ({
      name: names[i]!,
      ips: addressesOf(endpoint),
      serve: [],
      interface: endpoint.name,
      mac: spellMac(podMac(endpoint)),
      workloadId: endpoint.id.workloadId,
    })),
    left: endpoints.length - made.length,
    outside: { name: OUTSIDE, ips: OUTSIDE_IPS, serve: [] },
    host: { name: HOST, ips: hostAddresses(model), serve: [] },
    stream: firstFrames(readFileSync(path), frames),
    frames,
  };
}

function addressesOf({ ipv4Nets, ipv6Nets }: WorkloadEndpoint): readonly string[] {
  return [...ipv4Nets, ...ipv6Nets].flatMap((net) => {
    const cidr = parseCidr(net);
    return cidr?.single === true ? [net.split('/')[0]!] : [];
  });
}

/** Of the node that Felix runs on. */
function hostAddresses(model: FelixModel): readonly string[] {
  const own = model.hosts.get(model.config.get('FelixHostname') ?? '');
  if (own === undefined) return [];
  return [own.ipv4Addr, own.ipv6Addr].filter((text) => text !== '').map((text) => text.split('/')[0]!);
}

/** The workload's own name where only one has it, else with its Kubernetes namespace, else that of the interface. */
function namesOf(endpoints: readonly WorkloadEndpoint[]): readonly string[] {
  const words = (text: string): string => text.toLowerCase().replace(/[^a-z0-9.-]+/g, '.');
  const forms: readonly ((endpoint: WorkloadEndpoint) => string)[] = [
    ({ id }) => words(id.workloadId.slice(id.workloadId.lastIndexOf('/') + 1)),
    ({ id }) => words(id.workloadId),
    ({ name }) => name,
  ];
  const counts = forms.map((form) => {
    const count = new Map([OUTSIDE, HOST].map((name) => [name, 1]));
    for (const name of endpoints.map(form)) count.set(name, (count.get(name) ?? 0) + 1);
    return count;
  });
  const taken = new Set<string>();
  return endpoints.map((endpoint) => {
    const usable = forms.map((form, i) => ({ name: form(endpoint), count: counts[i]!.get(form(endpoint))! }));
    const found = usable.find(({ name, count }) => count === 1 && NAME.test(name) && !taken.has(name));
    const name = found?.name ?? endpoint.name;
    taken.add(name);
    return name;
  });
}

/** What can be a namespace, and a word in a command. */
const NAME = /^[a-z0-9]([a-z0-9.-]{0,98}[a-z0-9])?$/;

function firstFrames(bytes: Buffer, frames: number): Uint8Array {
  let end = 0;
  for (let i = 0; i < frames; i++) end += LENGTH + Number(bytes.readBigUInt64LE(end));
  return bytes.subarray(0, end);
}
