/** An origin, Sallyport before it as its users run it, and requests through it: the ground of the HTTP lane's integration tests. */
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import type { ApprovalRequest } from '../../api/resources.ts';
import { signVote } from '../../approval/vote.ts';
import { type Person, person } from '../../proxy/approval/approval.fixture.ts';
import { createRequestFiles } from '../../proxy/approval/files.ts';
import { createHolder } from '../../proxy/approval/folders.ts';
import { developmentKey, signDevelopmentToken } from '../../proxy/identity/development.ts';
import type { RecordedEvent } from '../../record/format.ts';
import { stateOf } from './approval-ground.ts';
import { recordedEvents } from './recorded.ts';
import { type Gateway, type GatewayOptions, startSallyport } from './sallyport.ts';
import { eventually } from './ssh-ground.ts';

export interface HttpLaneOptions {
  /** YAML of AccessPolicies and whatever else lies in the resource folder besides the connections, by file. */
  readonly resources: Readonly<Record<string, string>>;
  /** Connections to the origin, by name: JSON that stands in their spec, such as `{mode: 'Observe'}`. */
  readonly connections: Readonly<Record<string, object>>;
  /** Keys of Secrets of the namespace, by name. */
  readonly secrets?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Default: says what it got, as JSON. */
  readonly origin?: http.RequestListener;
  /** Instead of an origin of the test. */
  readonly target?: { readonly host: string; readonly port: number };
  readonly gateway?: Partial<GatewayOptions>;
}

/** A request as the origin got it. */
export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

export interface Answered {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
  readonly trailers: NodeJS.Dict<string>;
  /** Of a JSON body. */
  json<T = Record<string, unknown>>(): T;
}

export interface Asked {
  readonly connection?: string;
  readonly method?: string;
  readonly headers?: http.OutgoingHttpHeaders;
  readonly body?: string | Buffer | object;
  readonly token?: string;
  /** Connection that is kept alive. */
  readonly agent?: http.Agent;
  readonly signal?: AbortSignal;
}

export interface HttpLaneGround extends AsyncDisposable {
  readonly origin: { readonly server: http.Server; readonly port: number; readonly seen: readonly Seen[] };
  readonly folder: string;
  readonly state: string;
  readonly ada: Person;
  readonly ben: Person;
  readonly gateway: Gateway & AsyncDisposable;
  /** `http://127.0.0.1:PORT` of a connection. */
  url(connection?: string): string;
  token(name?: string): Promise<string>;
  /** Sends a request with the agent's token to its end. */
  ask(target: string, asked?: Asked): Promise<Answered>;
  edit(file: string, yaml: string): Promise<void>;
  /** What the record says, once an event is in it for which the test holds. */
  recorded(matches?: (event: RecordedEvent) => boolean): Promise<RecordedEvent[]>;
  request(matches: (request: ApprovalRequest) => boolean): Promise<ApprovalRequest>;
  pending(): Promise<ApprovalRequest>;
  vote(request: ApprovalRequest, who?: Person, verdict?: 'Approve' | 'Deny'): Promise<void>;
}

/** What an origin of a test says to everything, unless the test has another: the request itself, so that nothing stays unseen. */
export const sayBack: http.RequestListener = (request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const { method, url, headers } = request;
    const said = { method, url, headers, body: Buffer.concat(chunks).toString('latin1') };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(said));
  });
};

export async function startHttpLane(options: HttpLaneOptions): Promise<HttpLaneGround> {
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-http-lane-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const seen: Seen[] = [];
  const origin = http.createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      seen.push({ method, url, headers, body: Buffer.concat(chunks).toString('latin1') });
    });
    (options.origin ?? sayBack)(request, response);
  });
  await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve));
  cleanup.defer(async () => {
    origin.closeAllConnections();
    await new Promise((resolve) => origin.close(resolve));
  });
  const originPort = (origin.address() as AddressInfo).port;
  const state = options.gateway?.state ?? path.join(folder, 'state');
  const [resources, store] = [path.join(folder, 'resources'), path.join(folder, 'store')];
  await mkdir(resources, { mode: 0o700 });
  for (const [secret, keys] of Object.entries(options.secrets ?? {})) {
    const directory = path.join(state, 'secrets', 'default', secret);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    for (const [key, value] of Object.entries(keys)) await writeFile(path.join(directory, key), value, { mode: 0o600 });
  }
  await mkdir(state, { recursive: true, mode: 0o700 });
  await chmod(state, 0o700);
  const target = { host: '127.0.0.1', port: originPort, tls: { mode: 'Disable' }, ...options.target };
  for (const [name, more] of Object.entries(options.connections)) {
    const connection = {
      apiVersion: 'sallyport.dev/v1alpha1',
      kind: 'AccessConnection',
      metadata: { name, labels: { name } },
      spec: { protocol: 'HTTP', target, ...more },
    };
    await writeFile(path.join(resources, `connection-${name}.json`), JSON.stringify(connection));
  }
  for (const [file, yaml] of Object.entries(options.resources)) await writeFile(path.join(resources, file), yaml);
  const ada = person('ada', { groups: ['on-call'] });
  const ben = person('ben', { groups: ['on-call'] });
  const configuration = path.join(folder, 'sallyport.yaml');
  await writeFile(
    configuration,
    JSON.stringify({
      apiVersion: 'sallyport.dev/v1alpha1',
      kind: 'SallyportConfiguration',
      approvals: { store },
      approvers: [ada.entry, ben.entry],
    }),
  );
  const gateway = await startSallyport({
    resources: [resources],
    state,
    listen: Object.keys(options.connections).map((name) => `default/${name}=127.0.0.1:0`),
    parameters: ['-c', configuration],
    ...options.gateway,
  });
  cleanup.use(gateway);
  const [first = ''] = Object.keys(options.connections);
  const files = createRequestFiles(store, createHolder(process.pid));
  const key = await developmentKey(state);
  const token = (name = 'agent'): Promise<string> => {
    const subject = `system:serviceaccount:default:${name}`;
    return signDevelopmentToken(key, { subject, groups: [], claims: {}, ttlSeconds: 3600 }, Date.now());
  };
  const agentToken = await token();
  const ground: HttpLaneGround = {
    ...{ origin: { server: origin, port: originPort, seen }, folder, state, ada, ben, gateway },
    url: (connection = first) => `http://127.0.0.1:${gateway.connection(connection).port}`,
    token,
    ask: (target, asked = {}) => send(`${ground.url(asked.connection)}${target}`, agentToken, asked),
    async edit(file, yaml) {
      const before = gateway.output().split('"event":"reload"').length - 1;
      await writeFile(path.join(resources, file), yaml);
      let count = 0;
      await gateway.event((found) => found.event === 'reload' && ++count > before);
    },
    recorded: (matches = () => true) =>
      eventually(
        async () => {
          const events = await recordedEvents(state);
          return events.some(matches) ? events : undefined;
        },
        () => 'no such event was recorded',
      ),
    request: (matches) =>
      eventually(
        async () => {
          for (const name of await files.names('default')) {
            const stored = await files.read({ namespace: 'default', name });
            if (stored !== undefined && matches(stored.request)) return stored.request;
          }
          return undefined;
        },
        () => 'there is no such request',
      ),
    pending: () => ground.request((request) => stateOf(request) === 'Pending'),
    async vote(request, who = ada, verdict = 'Approve') {
      const { name } = request.metadata;
      await files.update({ namespace: 'default', name }, (found) => {
        const decision = signVote(found, { verdict, voter: who.entry.name, via: 'test', now: Date.now() }, who.key);
        return { ...found, spec: { ...found.spec, decisions: [...(found.spec.decisions ?? []), decision] } };
      });
    },
    async [Symbol.asyncDispose]() {
      await owned.disposeAsync();
    },
  };
  const owned = cleanup.move();
  return ground;
}

function send(url: string, agentToken: string, asked: Asked): Promise<Answered> {
  const { method = 'GET', headers = {}, body, token = agentToken, agent, signal } = asked;
  const bytes = body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
  const typed = bytes === body ? {} : { 'content-type': 'application/json' };
  return new Promise((resolve, reject) => {
    const request = http.request(
      url,
      {
        method,
        agent: agent ?? false,
        headers: {
          ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
          ...typed,
          ...(bytes === undefined ? {} : { 'content-length': Buffer.byteLength(bytes) }),
          ...headers,
        },
        ...(signal === undefined ? {} : { signal }),
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString('utf8');
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            trailers: response.trailers,
            body: text,
            json: <T>() => JSON.parse(text) as T,
          });
        });
      },
    );
    request.on('error', reject);
    request.end(bytes);
  });
}
