import { createServer, type Server } from 'node:http';

/** What the operations endpoint serves. Nothing here needs a token, so nothing here tells of subjects, statements or policy. */
export interface Probes {
  metrics(): Promise<string>;
  /** Undefined: ready. Otherwise why not. */
  notReady(): string | undefined;
}

/** `/metrics` (Prometheus text), `/healthz`, `/readyz`. Resolves once it listens. */
export async function serveProbes(address: { host: string; port: number }, probes: Probes): Promise<Server> {
  const server = createServer((request, response) => {
    const answer = (status: number, body: string, type = 'text/plain; charset=utf-8'): void => {
      response.writeHead(status, { 'content-type': type });
      response.end(body);
    };
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(405, 'only GET\n');
    switch (request.url) {
      case '/metrics':
        probes.metrics().then(
          (text) => answer(200, text, 'text/plain; version=0.0.4; charset=utf-8'),
          (error: Error) => answer(500, `${error.message}\n`),
        );
        return;
      case '/healthz':
        return answer(200, 'ok\n');
      case '/readyz': {
        const reason = probes.notReady();
        return reason === undefined ? answer(200, 'ready\n') : answer(503, `${reason}\n`);
      }
      default:
        return answer(404, 'there is /metrics, /healthz and /readyz\n');
    }
  });
  server.headersTimeout = 5000;
  server.requestTimeout = 5000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(address.port, address.host, resolve);
  });
  return server;
}
