/** `/metrics` for Prometheus, `/healthz` and `/readyz` for Kubernetes. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import { CalicoP4Error } from '../errors';
import type { Health } from './health';

export interface MetricsServerOptions {
  /** HOST:PORT; port 0 takes any free one. */
  readonly listen: string;
  readonly registry: Registry;
  readonly liveness: () => Health;
  readonly readiness: () => Health;
}

export interface MetricsServer {
  /** With the port that was chosen. */
  readonly address: string;
  close(): void;
}

/** @throws CalicoP4Error CONFIG_INVALID when it can not listen there */
export async function startMetricsServer(options: MetricsServerOptions): Promise<MetricsServer> {
  const { listen, registry } = options;
  const server = createServer((request, response) => {
    const send = (status: number, type: string, body: string): void => {
      response.writeHead(status, { 'content-type': type });
      response.end(request.method === 'HEAD' ? undefined : body);
    };
    const sendHealth = (health: Health): void => {
      send(health.ok ? 200 : 503, 'application/json', `${JSON.stringify(health)}\n`);
    };
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      send(405, 'text/plain', 'GET only\n');
      return;
    }
    switch (new URL(request.url ?? '/', 'http://localhost').pathname) {
      case '/metrics':
        registry.metrics().then(
          (text) => {
            send(200, registry.contentType, text);
          },
          (error: unknown) => {
            send(500, 'text/plain', `${String(error)}\n`);
          },
        );
        return;
      case '/healthz':
        sendHealth(options.liveness());
        return;
      case '/readyz':
        sendHealth(options.readiness());
        return;
      default:
        send(404, 'text/plain', '/metrics, /healthz, /readyz\n');
    }
  });
  await listening(server, listen);
  // It serves the process, and does not keep it.
  server.unref();
  const { address, family, port } = server.address() as AddressInfo;
  return {
    address: family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function listening(server: Server, listen: string): Promise<void> {
  const at = listen.lastIndexOf(':');
  const host = listen.slice(0, at).replace(/^\[(.*)\]$/, '$1');
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      reject(
        new CalicoP4Error(
          'CONFIG_INVALID',
          `metrics.listen: can not listen on ${listen} (${cause.message}): free it, choose another address, or "" for no metrics`,
          { listen },
          { cause },
        ),
      );
    });
    server.listen(Number(listen.slice(at + 1)), host, resolve);
  });
}
