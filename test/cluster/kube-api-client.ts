/** A client of the API server that sends what it is told, byte by byte, as a user of the cluster. */
import { readFile } from 'node:fs/promises';
import { Agent, request as httpsRequest } from 'node:https';
import type { ControlPlane } from './control-plane.ts';

export interface RawAnswer {
  readonly status: number;
  readonly contentType: string | undefined;
  readonly body: Buffer;
}

export interface RawRequest {
  readonly method: string;
  /** As it goes on the wire. */
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | undefined;
  readonly signal?: AbortSignal;
}

export interface RawClient extends Disposable {
  send(request: RawRequest): Promise<RawAnswer>;
}

interface Kubeconfig {
  readonly clusters: readonly [{ readonly cluster: { readonly 'certificate-authority-data': string } }];
  readonly users: readonly [
    { readonly user: { readonly 'client-certificate-data': string; readonly 'client-key-data': string } },
  ];
}

export async function rawClient(
  cluster: ControlPlane,
  user: string,
  groups: readonly string[] = [],
): Promise<RawClient> {
  const file = await cluster.clientAs(user, groups);
  const { clusters, users } = JSON.parse(await readFile(file, 'utf8')) as Kubeconfig;
  const decoded = (data: string): Buffer => Buffer.from(data, 'base64');
  const agent = new Agent({
    ca: decoded(clusters[0].cluster['certificate-authority-data']),
    cert: decoded(users[0].user['client-certificate-data']),
    key: decoded(users[0].user['client-key-data']),
    keepAlive: true,
    maxSockets: 8,
  });
  const { hostname, port } = new URL(cluster.server);
  return {
    send: ({ method, target, headers = {}, body, signal }) =>
      new Promise((resolve, reject) => {
        const fields = body === undefined ? headers : { ...headers, 'content-length': String(body.length) };
        const options = { host: hostname, port, method, path: target, headers: fields, agent };
        const request = httpsRequest(signal === undefined ? options : { ...options, signal }, (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.once('error', reject);
          response.once('end', () => {
            const contentType = response.headers['content-type'];
            resolve({ status: response.statusCode ?? 0, contentType, body: Buffer.concat(chunks) });
          });
        });
        request.once('error', reject);
        request.end(body);
      }),
    [Symbol.dispose]: () => agent.destroy(),
  };
}
