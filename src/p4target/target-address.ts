import { readFileSync } from 'node:fs';
import { credentials, type ChannelCredentials } from '@grpc/grpc-js';
import { CalicoP4Error } from '../errors';

/** How to talk to the server: plain, or TLS with files in PEM form. */
export type TargetSecurity =
  | { readonly kind: 'insecure' }
  | {
      readonly kind: 'tls';
      /** Certificates of the authorities that may have signed the server's; the system's when absent. */
      readonly caFile?: string;
      /** Ours, when the server asks for one; both or none. */
      readonly certFile?: string;
      readonly keyFile?: string;
      /** The name to expect in the server's certificate, when it is not that of the address. */
      readonly serverName?: string;
    };

/**
 * Credentials for gRPC.
 *
 * @throws CalicoP4Error CONFIG_INVALID for a file that can not be read or is no PEM, and for a certificate without its key
 */
export function channelCredentials(security: TargetSecurity): ChannelCredentials {
  if (security.kind === 'insecure') return credentials.createInsecure();
  const { caFile, certFile, keyFile } = security;
  if ((certFile === undefined) !== (keyFile === undefined)) {
    throw new CalicoP4Error(
      'CONFIG_INVALID',
      'target TLS: a client certificate needs its key, and a key its certificate',
    );
  }
  const [ca, key, cert] = [pem(caFile), pem(keyFile), pem(certFile)];
  try {
    return credentials.createSsl(ca, key, cert);
  } catch (cause) {
    // Files that are being replaced may be met half written, or one before the other.
    const why = cause instanceof Error ? cause.message : String(cause);
    const files = [caFile, certFile, keyFile].filter((file) => file !== undefined).join(', ');
    throw new CalicoP4Error(
      'CONFIG_INVALID',
      `target TLS: ${files} can not be used together: ${why}`,
      {},
      { cause },
    );
  }
}

function pem(file: string | undefined): Buffer | null {
  if (file === undefined) return null;
  try {
    return readFileSync(file);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CalicoP4Error(
      'CONFIG_INVALID',
      `target TLS: can not read ${file}: ${why}`,
      { file },
      { cause },
    );
  }
}
