import { loadConfig } from '../driver/config';
import { cleanHost } from '../driver/host-network/open';
import { CalicoP4Error } from '../errors';

/** `calico-p4 cleanup`. @throws CalicoP4Error CONFIG_INVALID, HOST_NETWORK_FAILED */
export async function cleanup(
  { config: file }: { readonly config?: string },
  print: (line: string) => void,
): Promise<void> {
  const config = loadConfig(process.env, file);
  const { uplink, host } = config.interfaces;
  if (host === '') {
    throw new CalicoP4Error(
      'CONFIG_INVALID',
      'interfaces.host is not set: a driver with this configuration leaves the kernel alone, and there is nothing to take away',
    );
  }
  await cleanHost(config);
  print(
    `${host}: routes, addresses and rules of calico-p4 are gone; ${uplink}: the kernel gets what comes in`,
  );
}
