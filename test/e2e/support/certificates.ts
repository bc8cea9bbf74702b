import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** Paths of PEM files. */
export interface Certificates {
  readonly ca: string;
  readonly server: { readonly cert: string; readonly key: string };
  readonly client: { readonly cert: string; readonly key: string };
}

/** Makes an authority of its own, and what it signs: a server at 127.0.0.1 and a client. With the openssl of the machine. */
export function makeCertificates(folder: string): Certificates {
  mkdirSync(folder, { recursive: true });
  const at = (name: string): string => path.join(folder, name);
  const openssl = (...args: readonly string[]): void => {
    execFileSync('openssl', args, { stdio: 'ignore' });
  };
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl(
    ...['req', '-x509', ...key, '-days', '2', '-subj', '/CN=test authority'],
    ...['-keyout', at('ca.key'), '-out', at('ca.pem')],
  );
  const sign = (name: string): { cert: string; key: string } => {
    writeFileSync(at(`${name}.ext`), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n');
    openssl('req', ...key, '-subj', `/CN=${name}`, '-keyout', at(`${name}.key`), '-out', at(`${name}.csr`));
    openssl(
      ...['x509', '-req', '-days', '2', '-in', at(`${name}.csr`), '-extfile', at(`${name}.ext`)],
      ...['-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-out', at(`${name}.pem`)],
    );
    return { cert: at(`${name}.pem`), key: at(`${name}.key`) };
  };
  return { ca: at('ca.pem'), server: sign('server'), client: sign('client') };
}
