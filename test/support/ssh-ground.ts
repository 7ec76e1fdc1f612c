/** One SSH server, Sallyport before it, and stock clients: the ground of the SSH lane's integration tests. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { ApprovalRequest } from '../../api/resources.ts';
import { signVote } from '../../approval/vote.ts';
import { type Person, person } from '../../proxy/approval/approval.fixture.ts';
import { createRequestFiles } from '../../proxy/approval/files.ts';
import { createHolder } from '../../proxy/approval/folders.ts';
import type { RecordedEvent } from '../../record/format.ts';
import { stateOf } from './approval-ground.ts';
import { recordedEvents } from './recorded.ts';
import { createToken, type Gateway, type GatewayOptions, startSallyport } from './sallyport.ts';
import {
  runClient,
  type Sshd,
  type SshdOptions,
  type SshKey,
  type SshResult,
  sshKey,
  sshParameters,
  startSshd,
} from './sshd.ts';

export interface SshGroundOptions {
  readonly sshd?: SshdOptions;
  /** YAML of AccessPolicies and whatever else lies in the resource folder besides the connections, by file. */
  readonly resources?: Readonly<Record<string, string>>;
  /** Connections to the server, by name: YAML that stands in their spec, such as `mode: Observe`. Default: `host`. */
  readonly connections?: Readonly<Record<string, string>>;
  /** In place of a certificate for each connection. */
  readonly credential?: string;
  readonly gateway?: Partial<GatewayOptions>;
  /** For the configuration, besides approvers. */
  readonly configuration?: object;
}

export interface SshGround extends AsyncDisposable {
  readonly sshd: Sshd;
  readonly folder: string;
  readonly state: string;
  readonly resources: string;
  readonly knownHosts: string;
  /** Keys that sign in as `default/NAME`: `agent` and `other`. */
  readonly keys: { readonly agent: SshKey; readonly other: SshKey };
  readonly ada: Person;
  readonly ben: Person;
  gateway: Gateway & AsyncDisposable;
  port(connection?: string): number;
  token(name: string, ttl?: string): Promise<string>;
  /** Parameters of `ssh`, `scp` and `sftp` to go through Sallyport. */
  parameters(options?: SshRunOptions): string[];
  /** Runs `ssh deploy@HOST COMMAND` through Sallyport, as the agent, to its end. */
  ssh(command: readonly string[], options?: SshRunOptions): Promise<SshResult>;
  /** The same, still running. */
  start(command: readonly string[], options?: SshRunOptions): RunningClient;
  /** Straight to the server. */
  direct(command: readonly string[], input?: Buffer): Promise<SshResult>;
  /** Writes a file of the resource folder and waits until the gateway has said what it makes of it. */
  edit(file: string, yaml: string): Promise<void>;
  /** What the record says, once an event is in it for which the test holds. */
  recorded(matches?: (event: RecordedEvent) => boolean): Promise<RecordedEvent[]>;
  request(matches: (request: ApprovalRequest) => boolean): Promise<ApprovalRequest>;
  pending(): Promise<ApprovalRequest>;
  vote(request: ApprovalRequest, who?: Person, verdict?: 'Approve' | 'Deny'): Promise<void>;
  restart(options?: Partial<GatewayOptions>): Promise<void>;
}

export interface SshRunOptions {
  readonly connection?: string;
  readonly user?: string;
  readonly key?: SshKey;
  readonly options?: readonly string[];
  readonly flags?: readonly string[];
  readonly input?: Buffer | string;
}

/** A client that has been started. */
export interface RunningClient {
  readonly child: ChildProcess;
  /** What it has written to stderr so far. */
  stderr(): string;
  stdout(): string;
  /** Resolves once either holds it. @throws when the client ends before */
  says(pattern: RegExp): Promise<void>;
  readonly ended: Promise<{ readonly status: number | null; readonly signal: NodeJS.Signals | null }>;
}

const LOOK_MS = 25;
const PATIENCE_MS = 20_000;

export function running(child: ChildProcess): RunningClient {
  let [out, err] = ['', ''];
  const waiting = new Set<() => void>();
  const notify = (): void => {
    for (const look of [...waiting]) look();
  };
  child.stdout?.setEncoding('latin1').on('data', (text: string) => {
    out += text;
    notify();
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    err += text;
    notify();
  });
  child.stdin?.on('error', () => {});
  const ended = once(child, 'close').then(([status, signal]) => {
    notify();
    return { status: status as number | null, signal: signal as NodeJS.Signals | null };
  });
  return {
    child,
    stderr: () => err,
    stdout: () => out,
    says: (pattern) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (!pattern.test(err) && !pattern.test(out)) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        ended.then(() => {
          look();
          reject(new Error(`the client ended before it said ${pattern}:\n${err}\n${out}`));
        }, reject);
        look();
      }),
    ended,
  };
}

/** Waits by looking: files of other processes. */
export async function eventually<T>(look: () => Promise<T | undefined>, what: () => string): Promise<T> {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > end) throw new Error(what());
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

const indented = (yaml: string): string =>
  yaml === ''
    ? ''
    : `${yaml
        .split('\n')
        .map((line) => `  ${line}`)
        .join('\n')}\n`;

function connectionYaml(name: string, more: string, sshd: Sshd, keys: SshGround['keys'], credential: string): string {
  const key = (account: string, { publicKey }: SshKey): string =>
    `    - {serviceAccount: {name: ${account}}, publicKey: ${publicKey}}\n`;
  return `apiVersion: sallyport.dev/v1alpha1
kind: AccessConnection
metadata: {name: ${name}, labels: {name: ${name}}}
spec:
  protocol: SSH
  target:
    host: 127.0.0.1
    port: ${sshd.port}
    hostKeys: [${sshd.hostKeys.map(({ publicKey }) => publicKey).join(', ')}]
  credential: ${credential}
  ssh:
    authorizedKeys:
${key('agent', keys.agent)}${key('other', keys.other)}${indented(more)}`;
}

const CERTIFICATE = '{sshCertificate: {caSecretRef: {name: user-ca}, principals: [deploy]}}';

export async function startSshGround(options: SshGroundOptions): Promise<SshGround> {
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-ssh-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const authority = await sshKey(path.join(folder, 'user-ca'));
  const keys = { agent: await sshKey(path.join(folder, 'agent')), other: await sshKey(path.join(folder, 'other')) };
  const sshd = cleanup.use(await startSshd({ trustedUserCas: [authority.publicKey], ...options.sshd }));
  const state = options.gateway?.state ?? path.join(folder, 'state');
  const [resources, store] = [path.join(folder, 'resources'), path.join(folder, 'store')];
  await mkdir(resources, { mode: 0o700 });
  const secret = path.join(state, 'secrets', 'default', 'user-ca');
  await mkdir(secret, { recursive: true, mode: 0o700 });
  await chmod(state, 0o700);
  await writeFile(path.join(secret, 'ssh-privatekey'), authority.privateKey, { mode: 0o600 });
  const connections = options.connections ?? { host: '' };
  const credential = options.credential ?? CERTIFICATE;
  for (const [name, more] of Object.entries(connections)) {
    await writeFile(
      path.join(resources, `connection-${name}.yaml`),
      connectionYaml(name, more, sshd, keys, credential),
    );
  }
  for (const [file, yaml] of Object.entries(options.resources ?? {})) await writeFile(path.join(resources, file), yaml);
  const ada = person('ada', { groups: ['on-call'] });
  const ben = person('ben', { groups: ['on-call'] });
  const configuration = path.join(folder, 'sallyport.yaml');
  const content = {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'SallyportConfiguration',
    approvals: { store },
    approvers: [ada.entry, ben.entry],
    ...options.configuration,
  };
  await writeFile(configuration, JSON.stringify(content));
  const start = (more: Partial<GatewayOptions> = {}): Promise<Gateway & AsyncDisposable> =>
    startSallyport({
      resources: [resources],
      state,
      listen: Object.keys(connections).map((name) => `default/${name}=127.0.0.1:0`),
      parameters: ['-c', configuration],
      ...options.gateway,
      ...more,
    });
  const knownHosts = path.join(folder, 'known_hosts');

  async function trustGateway(): Promise<void> {
    const line = (await readFile(path.join(state, 'ssh', 'ssh_host_ed25519_key.pub'), 'utf8')).trim();
    const lines = Object.keys(connections).map((name) => `[127.0.0.1]:${ground.port(name)} ${line}\n`);
    await writeFile(knownHosts, lines.join(''));
  }

  const files = createRequestFiles(store, createHolder(process.pid));
  const ground: SshGround = {
    ...{ sshd, folder, state, resources, knownHosts, keys, ada, ben },
    gateway: await start(),
    port: (connection = 'host') => ground.gateway.connection(connection).port,
    token: (name, ttl = '1h') => createToken(state, { subject: `system:serviceaccount:default:${name}`, ttl }),
    parameters({ connection = 'host', user = 'deploy', key = keys.agent, options: more = [] } = {}) {
      return sshParameters({
        port: ground.port(connection),
        knownHostsPath: knownHosts,
        user,
        identity: key.privateKeyPath,
        options: more,
      });
    },
    ssh: (command, run = {}) =>
      runClient('ssh', [...ground.parameters(run), ...(run.flags ?? []), '127.0.0.1', ...command], {
        input: run.input ?? '',
      }),
    start: (command, run = {}) =>
      running(
        spawn('ssh', [...ground.parameters(run), ...(run.flags ?? []), '127.0.0.1', ...command], { stdio: 'pipe' }),
      ),
    direct: (command, input) =>
      runClient(
        'ssh',
        [
          ...sshParameters({
            port: sshd.port,
            knownHostsPath: sshd.knownHostsPath,
            identity: keys.agent.privateKeyPath,
          }),
          '127.0.0.1',
          ...command,
        ],
        { input: input ?? '' },
      ),
    async edit(file, yaml) {
      const before = ground.gateway.output().split('"event":"reload"').length - 1;
      await writeFile(path.join(resources, file), yaml);
      let count = 0;
      await ground.gateway.event((found) => found.event === 'reload' && ++count > before);
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
    async restart(more) {
      await ground.gateway.stop('SIGKILL');
      ground.gateway = await start(more);
      await trustGateway();
    },
    async [Symbol.asyncDispose]() {
      await ground.gateway[Symbol.asyncDispose]();
      await owned.disposeAsync();
    },
  };
  await trustGateway();
  const owned = cleanup.move();
  return ground;
}
