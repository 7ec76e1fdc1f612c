/** Runs the command line as its users do: as a process of its own, driven by what it prints. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';

export const repositoryRoot = path.join(import.meta.dirname, '..', '..');

/** `source` needs no build and is never stale; `dist` is what users run. */
export type Entry = 'source' | 'dist';

const ENTRY_FILES = { source: 'cli/main.ts', dist: 'dist/cli/main.js' } as const;

export function entryFile(entry: Entry): string {
  return path.join(repositoryRoot, ENTRY_FILES[entry]);
}

/** Whether there is a command line to run. */
export function hasEntry(entry: Entry): boolean {
  return existsSync(entryFile(entry));
}

export interface CliResult {
  /** Exit status, or the name of the signal that ended it. */
  readonly status: number | NodeJS.Signals;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly entry?: Entry;
  readonly cwd?: string;
  readonly environment?: NodeJS.ProcessEnv;
  readonly input?: string;
}

/** Runs a command to its end. Never rejects for an exit status. */
export function sallyport(parameters: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      process.execPath,
      [entryFile(options.entry ?? 'source'), ...parameters],
      {
        cwd: options.cwd ?? repositoryRoot,
        env: { ...process.env, ...options.environment },
        maxBuffer: 64 * 1024 * 1024,
      },
      (error, stdout, stderr) => {
        if (error === null) resolve({ status: 0, stdout, stderr });
        else if (typeof error.code === 'number') resolve({ status: error.code, stdout, stderr });
        else if (error.signal) resolve({ status: error.signal, stdout, stderr });
        else reject(error);
      },
    );
    child.stdin?.end(options.input);
  });
}

export interface ReadyConnection {
  readonly namespace: string;
  readonly name: string;
  readonly protocol: string;
  readonly address: string;
  readonly port: number;
}

/** A line of `run -o json`. */
export interface GatewayEvent {
  readonly event: string;
  readonly [field: string]: unknown;
}

export interface Gateway {
  readonly pid: number;
  readonly connections: readonly ReadyConnection[];
  /** URL of the Prometheus metrics, when served. */
  readonly metrics: string | undefined;
  /** Throws when there is no such connection. */
  connection(name: string, namespace?: string): ReadyConnection;
  /** Everything printed so far on stdout and stderr: what a leak would show in. */
  output(): string;
  /** The first event, past or future, for which the test holds; rejects when the process ends first. */
  event(matches: (event: GatewayEvent) => boolean): Promise<GatewayEvent>;
  /** Sends a signal and waits for the end; SIGTERM drains. */
  stop(signal?: NodeJS.Signals): Promise<number | NodeJS.Signals>;
}

export interface GatewayOptions {
  /** Folders or files of resources. */
  readonly resources: readonly string[];
  readonly state: string;
  /** Such as `default/orders=127.0.0.1:0`. */
  readonly listen?: readonly string[];
  readonly workers?: number;
  /** Default true: the tests of TLS say false. */
  readonly plaintextLoopback?: boolean;
  /** Further arguments, such as `-c FILE`. */
  readonly parameters?: readonly string[];
  readonly entry?: Entry;
  readonly environment?: NodeJS.ProcessEnv;
}

function exitOf(child: ChildProcess): number | NodeJS.Signals {
  return child.exitCode ?? child.signalCode ?? 0;
}

/** Starts `sallyport run` and waits for its ready line. @throws with all that it printed when it ends before that */
export async function startSallyport(options: GatewayOptions): Promise<Gateway & AsyncDisposable> {
  const parameters = [
    'run',
    ...options.resources.flatMap((folder) => ['-f', folder]),
    ...['--state', options.state, '-o', 'json'],
    ...(options.listen ?? []).flatMap((listen) => ['--listen', listen]),
    ...(options.workers === undefined ? [] : ['--workers', String(options.workers)]),
    ...(options.plaintextLoopback === false ? [] : ['--plaintext-loopback']),
    ...(options.parameters ?? []),
  ];
  const child = spawn(process.execPath, [entryFile(options.entry ?? 'source'), ...parameters], {
    cwd: repositoryRoot,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.environment },
  });
  const closed = once(child, 'close');
  let output = '';
  const events: GatewayEvent[] = [];
  const waiting = new Set<(event: GatewayEvent) => void>();
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  createInterface({ input: child.stdout }).on('line', (line) => {
    output += `${line}\n`;
    const event = JSON.parse(line) as GatewayEvent;
    events.push(event);
    for (const notify of [...waiting]) notify(event);
  });

  function event(matches: (event: GatewayEvent) => boolean): Promise<GatewayEvent> {
    const past = events.find(matches);
    if (past !== undefined) return Promise.resolve(past);
    return new Promise((resolve, reject) => {
      const notify = (candidate: GatewayEvent): void => {
        if (!matches(candidate)) return;
        waiting.delete(notify);
        resolve(candidate);
      };
      waiting.add(notify);
      closed.then(
        () => reject(new Error(`sallyport ${parameters.join(' ')} ended (${exitOf(child)}):\n${output}`)),
        reject,
      );
    });
  }

  async function stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | NodeJS.Signals> {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      await closed;
    }
    return exitOf(child);
  }

  // A test process that is interrupted runs no disposal.
  const killWithUs = (): void => {
    child.kill('SIGKILL');
  };
  process.once('exit', killWithUs);
  closed.then(
    () => process.off('exit', killWithUs),
    () => process.off('exit', killWithUs),
  );

  const ready = await event((candidate) => candidate.event === 'ready');
  const connections = ready.connections as readonly ReadyConnection[];
  return {
    pid: child.pid!,
    connections,
    metrics: ready.metrics as string | undefined,
    connection(name, namespace = 'default') {
      const found = connections.find((candidate) => candidate.name === name && candidate.namespace === namespace);
      if (found === undefined) throw new Error(`no connection ${namespace}/${name} in ${JSON.stringify(connections)}`);
      return found;
    },
    output: () => output,
    event,
    stop,
    async [Symbol.asyncDispose]() {
      await stop('SIGKILL');
    },
  };
}

export interface TokenRequest {
  readonly subject: string;
  readonly groups?: readonly string[];
  readonly claims?: Readonly<Record<string, string>>;
  readonly ttl?: string;
  readonly entry?: Entry;
}

/** A token of the development issuer in that state folder. */
export async function createToken(state: string, request: TokenRequest): Promise<string> {
  const result = await sallyport(
    [
      ...['token', 'create', '--as', request.subject, '--state', state, '--ttl', request.ttl ?? '10m'],
      ...(request.groups ?? []).flatMap((group) => ['--group', group]),
      ...Object.entries(request.claims ?? {}).flatMap(([name, value]) => ['--claim', `${name}=${value}`]),
    ],
    { entry: request.entry ?? 'source' },
  );
  if (result.status !== 0) throw new Error(`sallyport token create failed (${result.status}): ${result.stderr}`);
  return result.stdout.trim();
}
