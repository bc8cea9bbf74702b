/** From configuration to the host's network, and back: what the driver leaves on the host, and `calico-p4 cleanup` takes away. */
import { parseMac } from '../../translators/links';
import { logger } from '../../log';
import type { DriverConfig, InterfaceMacs } from '../config';
import { createCommands, type Commands } from './commands';
import { createHostNetwork, type HostNetwork } from './host-network';
import { readKernel, readNeighbours } from './kernel';
import { createNftTable } from './nft-table';
import { GATEWAYS } from './plan';
import { applyHostPlan } from './host-routes';

/** Milliseconds until interfaces that are not there are looked for again. */
const AGAIN = 1000;

/** undefined: the host's kernel is left alone. Waits for the two interfaces to be there. */
export async function openHostNetwork(
  { interfaces, macs }: Pick<DriverConfig, 'interfaces' | 'macs'>,
  onChange: () => void,
  commands: Commands = createCommands(),
): Promise<{ readonly network: HostNetwork; readonly macs: InterfaceMacs } | undefined> {
  if (interfaces.host === '') return undefined;
  const log = logger('host-network');
  let said = '';
  for (;;) {
    let reason: string;
    try {
      const { devices } = await readKernel(commands);
      const [uplink, host] = [devices.get(interfaces.uplink), devices.get(interfaces.host)];
      if (uplink !== undefined && host !== undefined) {
        const gatewayMac = parseMac(macs.gateway)!;
        const network = createHostNetwork({ interfaces, gatewayMac, commands, log, onChange });
        return { network, macs: { uplink: uplink.mac, host: host.mac } };
      }
      reason = `there is no interface ${uplink === undefined ? interfaces.uplink : interfaces.host}`;
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
    }
    if (reason !== said)
      log.error("the host's network can not be used yet: nothing is forwarded", { reason });
    said = reason;
    await new Promise((resolve) => setTimeout(resolve, AGAIN));
  }
}

/** Takes away all that a driver with this configuration may have left in the kernel. @throws CalicoP4Error HOST_NETWORK_FAILED */
export async function cleanHost(
  { interfaces }: Pick<DriverConfig, 'interfaces'>,
  commands: Commands = createCommands(),
): Promise<void> {
  const { uplink, host } = interfaces;
  const kernel = await readKernel(commands);
  if (kernel.devices.has(host)) {
    await applyHostPlan(commands, host, { routes: [], addresses: [], protocol: 0 }, 0n, kernel);
    const gateways = new Set(GATEWAYS.map(([, address]) => address));
    for (const { address } of await readNeighbours(commands, host)) {
      const text = address.text.split('/')[0]!;
      if (gateways.has(text)) await commands.run('ip', ['neigh', 'del', text, 'dev', host]);
    }
  }
  if (kernel.devices.has(uplink)) {
    for (const { address, managed } of await readNeighbours(commands, uplink)) {
      if (managed) await commands.run('ip', ['neigh', 'del', address.text.split('/')[0]!, 'dev', uplink]);
    }
  }
  await createNftTable(commands, 'inet', 'calico-p4').remove();
  // Last: up to here the kernel gets nothing of what comes in.
  await createNftTable(commands, 'netdev', 'calico-p4').remove();
}
