/** Routes and addresses of the host's interface: made equal to a plan, the least that has to be written. */
import { spellAddress, type Cidr } from '../../translators/address';
import { spellMac } from '../../translators/links';
import type { Commands } from './commands';
import { readNeighbours, type KernelState } from './kernel';
import { GATEWAYS, type HostPlan, type HostRoute } from './plan';
import { GATEWAY_V4, GATEWAY_V6, isOurs } from './ways';

/** Writes what differs; routes and addresses of ours that are not in the plan go. @throws CalicoP4Error HOST_NETWORK_FAILED */
export async function applyHostPlan(
  commands: Commands,
  host: string,
  plan: Pick<HostPlan, 'routes' | 'addresses' | 'protocol'>,
  gatewayMac: bigint,
  kernel: KernelState,
): Promise<boolean> {
  const lines: { readonly 4: string[]; readonly 6: string[] } = { 4: [], 6: [] };
  const known = new Map((await readNeighbours(commands, host)).map((one) => [spelled(one.address), one.mac]));
  for (const [ipVersion, gateway] of GATEWAYS) {
    const used = plan.routes.some(({ dst }) => dst.ipVersion === ipVersion);
    if (used && known.get(gateway) !== gatewayMac)
      lines[ipVersion].push(
        `neigh replace ${gateway} dev ${host} lladdr ${spellMac(gatewayMac)} nud permanent`,
      );
  }

  const wanted = new Set(plan.addresses.map(({ text }) => text));
  const has = kernel.addresses.filter(({ device }) => device === host);
  // First what comes: routes name it. Last what goes.
  for (const address of plan.addresses) {
    // Somebody else may have put it there, or on another interface.
    if (kernel.addresses.some((one) => one.address.text === address.text)) continue;
    lines[address.ipVersion].push(
      address.ipVersion === 4
        ? `address add ${spelled(address)}/32 dev ${host} scope link`
        : `address add ${spelled(address)}/128 dev ${host} nodad preferred_lft 0`,
    );
  }
  const ours = new Map(
    kernel.routes.filter((route) => isOurs(route, host)).map((route) => [route.dst.text, route]),
  );
  for (const route of plan.routes) {
    const found = ours.get(route.dst.text);
    const same =
      found !== undefined && found.source?.text === route.source?.text && found.protocol === plan.protocol;
    if (!same)
      lines[route.dst.ipVersion].push(`route replace ${routeWords(route, host)} proto ${plan.protocol}`);
  }
  const planned = new Set(plan.routes.map(({ dst }) => dst.text));
  for (const [text, { dst, source }] of ours)
    if (!planned.has(text)) lines[dst.ipVersion].push(`route del ${routeWords({ dst, source }, host)}`);
  for (const { address, subnet, scope, deprecated } of has) {
    const looksOurs = subnet.single && (address.ipVersion === 4 ? scope === 'link' : deprecated);
    if (looksOurs && !wanted.has(address.text))
      lines[address.ipVersion].push(
        `address del ${spelled(address)}/${address.ipVersion === 4 ? 32 : 128} dev ${host}`,
      );
  }
  for (const ipVersion of [4, 6] as const) {
    if (lines[ipVersion].length > 0)
      await commands.run('ip', [`-${ipVersion}`, '-batch', '-'], `${lines[ipVersion].join('\n')}\n`);
  }
  return lines[4].length + lines[6].length > 0;
}

function routeWords({ dst, source }: HostRoute, host: string): string {
  const gateway = dst.ipVersion === 4 ? GATEWAY_V4 : GATEWAY_V6;
  const from = source === undefined ? '' : ` src ${spelled(source)}`;
  return `${dst.text} via ${gateway} dev ${host} onlink${from}`;
}

function spelled({ hi, lo }: Cidr): string {
  return spellAddress(hi, lo);
}

/** Has the kernel answer no ARP request at the uplink: the target does. @throws CalicoP4Error HOST_NETWORK_FAILED */
export async function silenceArp(commands: Commands, uplink: string): Promise<void> {
  await setSwitch(commands, `net/ipv4/conf/${uplink}/arp_ignore`, '8');
}

async function setSwitch(commands: Commands, name: string, value: string): Promise<boolean> {
  // -e: a kernel without IPv6 has no such switch.
  const now = (await commands.run('sysctl', ['-n', '-e', name])).trim();
  if (now === '' || now === value) return false;
  await commands.run('sysctl', ['-q', '-w', `${name}=${value}`]);
  return true;
}

/** What must be on for packets that come by the host's interface to leave by it. @throws CalicoP4Error HOST_NETWORK_FAILED */
export async function setSwitches(commands: Commands, host: string): Promise<boolean> {
  const wanted: readonly (readonly [string, string])[] = [
    [`net/ipv4/conf/${host}/forwarding`, '1'],
    [`net/ipv4/conf/${host}/send_redirects`, '0'],
    // The kernel asks the one of all interfaces for IPv6.
    ['net/ipv6/conf/all/forwarding', '1'],
  ];
  let written = false;
  for (const [name, value] of wanted) if (await setSwitch(commands, name, value)) written = true;
  return written;
}
