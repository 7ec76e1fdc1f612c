import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { type Document, LineCounter, parseDocument } from 'yaml';
import {
  type OutgoingConfiguration,
  type OutgoingFile,
  outgoingContradictions,
  outgoingFromFile,
} from './configuration-outgoing.ts';
import { checkConfiguration } from './configuration-schema.ts';
import { ApiError, apiMessage } from './errors.ts';
import type { Finding } from './load.ts';
import { type Locate, locator } from './places.ts';
import { structureProblems } from './structure-error.ts';

/** One issuer whose tokens are accepted (docs/identity.md). Durations are in seconds once loaded. */
export interface IssuerConfiguration {
  readonly alias: string;
  readonly issuer: string;
  readonly audience: string;
  readonly jwksUri?: string;
  readonly caFile?: string;
  readonly algorithms?: readonly string[];
  readonly maxTokenLifetimeSeconds: number;
  readonly sessionGraceSeconds: number;
  readonly claims?: { readonly username?: string; readonly groups?: string; readonly onBehalfOf?: string };
}

/** A person who may approve (docs/approvals.md). */
export interface ApproverConfiguration {
  readonly name: string;
  /** The 32 bytes of an Ed25519 public key in base64. */
  readonly publicKey: string;
  readonly groups?: readonly string[];
  /** Patterns of `NAMESPACE/NAME`; absent: every connection. */
  readonly connections?: readonly string[];
  /** Subjects that are the same person. */
  readonly subjects?: readonly string[];
}

/** Everything that is not a resource: SallyportConfiguration with its defaults filled in. Paths are absolute. */
export interface Configuration extends OutgoingConfiguration {
  readonly issuers: readonly IssuerConfiguration[];
  /** Where connections are listened on, by `NAMESPACE/NAME`, in the order of the file. */
  readonly listen: ReadonlyMap<string, { readonly host: string; readonly port: number }>;
  readonly metrics: { readonly host: string; readonly port: number };
  readonly state: string | undefined;
  readonly guardrailNamespace: string;
  readonly limits: {
    readonly maxStatementBytes: number;
    readonly maxMessageBytes: number;
    readonly authenticationTimeoutMs: number;
  };
  /** `anchors`: folder for signed checkpoints; undefined: in the state folder. */
  readonly record: { readonly syncReads: boolean; readonly anchors: string | undefined };
  readonly tls: { readonly certificateFile: string; readonly keyFile: string } | undefined;
  readonly approvals: {
    /** Folder of requests; undefined: `approvals` in the state folder. */
    readonly store: string | undefined;
  };
  readonly approvers: readonly ApproverConfiguration[];
  /** Secrets that are mounted folders or environment variables, by `NAMESPACE/NAME`. */
  readonly credentials: ReadonlyMap<
    string,
    { readonly directory: string } | { readonly environment: Readonly<Record<string, string>> }
  >;
}

/** The file as it is written. */
interface ConfigurationFile extends OutgoingFile {
  readonly issuers?: readonly (Omit<
    IssuerConfiguration,
    'maxTokenLifetimeSeconds' | 'sessionGraceSeconds' | 'audience'
  > & {
    readonly audience?: string;
    readonly maxTokenLifetime?: string;
    readonly sessionGrace?: string;
  })[];
  readonly listen?: readonly { readonly connection: string; readonly address: string }[];
  readonly metrics?: { readonly address?: string };
  readonly state?: string;
  readonly guardrailNamespace?: string;
  readonly limits?: {
    readonly maxStatementBytes?: number;
    readonly maxMessageBytes?: number;
    readonly authenticationTimeout?: string;
  };
  readonly record?: { readonly syncReads?: boolean; readonly anchors?: string };
  readonly tls?: { readonly certificateFile: string; readonly keyFile: string };
  readonly approvals?: { readonly store?: string };
  readonly approvers?: readonly ApproverConfiguration[];
  readonly credentials?: readonly {
    readonly secret: string;
    readonly directory?: string;
    readonly environment?: Readonly<Record<string, string>>;
  }[];
}

const UNITS: Readonly<Record<string, number>> = { h: 3600, m: 60, s: 1 };
const MAX_GRACE_SECONDS = 3600;

/** Seconds of `1h30m`-like text. */
export function durationSeconds(value: string): number {
  let seconds = 0;
  for (const [, count, unit = ''] of value.matchAll(/([0-9]+)([hms])/g)) seconds += Number(count) * (UNITS[unit] ?? 0);
  return seconds;
}

/** `HOST:PORT`, IPv6 in brackets. @throws ApiError SPA010 */
export function parseAddress(value: string): { host: string; port: number } {
  const at = value.lastIndexOf(':');
  const host = value.slice(0, Math.max(at, 0)).replace(/^\[(.*)\]$/, '$1');
  const digits = value.slice(at + 1);
  const bare = host.includes(':') && !value.startsWith('[');
  if (host === '' || bare || !/^\d{1,5}$/.test(digits) || Number(digits) > 65_535) {
    throw new ApiError('SPA015', [value]);
  }
  return { host, port: Number(digits) };
}

function fromFile(file: ConfigurationFile, folder: string): Configuration {
  const path = (relative: string): string => resolve(folder, relative);
  const { limits = {}, tls } = file;
  return {
    ...outgoingFromFile(file, { path, address: parseAddress, seconds: durationSeconds }),
    issuers: (file.issuers ?? []).map(
      ({ maxTokenLifetime = '1h', sessionGrace = '0s', audience = 'sallyport', caFile, ...rest }) => ({
        ...rest,
        ...(caFile === undefined ? {} : { caFile: path(caFile) }),
        audience,
        maxTokenLifetimeSeconds: durationSeconds(maxTokenLifetime),
        sessionGraceSeconds: durationSeconds(sessionGrace),
      }),
    ),
    listen: new Map((file.listen ?? []).map(({ connection, address }) => [connection, parseAddress(address)])),
    metrics: parseAddress(file.metrics?.address ?? '127.0.0.1:0'),
    state: file.state === undefined ? undefined : path(file.state),
    guardrailNamespace: file.guardrailNamespace ?? 'sallyport-system',
    limits: {
      maxStatementBytes: limits.maxStatementBytes ?? 262_144,
      maxMessageBytes: limits.maxMessageBytes ?? 67_108_864,
      authenticationTimeoutMs: durationSeconds(limits.authenticationTimeout ?? '10s') * 1000,
    },
    record: {
      syncReads: file.record?.syncReads ?? false,
      anchors: file.record?.anchors === undefined ? undefined : path(file.record.anchors),
    },
    tls: tls === undefined ? undefined : { certificateFile: path(tls.certificateFile), keyFile: path(tls.keyFile) },
    approvals: { store: file.approvals?.store === undefined ? undefined : path(file.approvals.store) },
    approvers: file.approvers ?? [],
    credentials: new Map(
      (file.credentials ?? []).map(({ secret, directory, environment }) => [
        secret,
        directory === undefined ? { environment: environment ?? {} } : { directory: path(directory) },
      ]),
    ),
  };
}

/** What is in force without a file. */
export const DEFAULT_CONFIGURATION: Configuration = fromFile({}, '/');

interface Wrong {
  readonly path: readonly (string | number)[];
  readonly message: string;
  readonly fix?: string;
}

const isLoopback = (url: string): boolean => /^http:\/\/(localhost|127(\.\d+){3}|\[::1\])([:/]|$)/.test(url);

/** What the structure cannot say. */
function contradictions(file: ConfigurationFile): Wrong[] {
  const wrong: Wrong[] = [];
  const twice = (
    list: readonly string[],
    path: (index: number) => readonly (string | number)[],
    what: string,
  ): void => {
    list.forEach((value, index) => {
      if (list.indexOf(value) !== index) {
        wrong.push({ path: path(index), message: `${what} ${value} is there twice`, fix: 'Keep one of the two.' });
      }
    });
  };
  const issuers = file.issuers ?? [];
  twice(
    issuers.map(({ alias }) => alias),
    (index) => ['issuers', index, 'alias'],
    'the alias',
  );
  twice(
    issuers.map(({ issuer }) => issuer),
    (index) => ['issuers', index, 'issuer'],
    'the issuer',
  );
  issuers.forEach(({ alias, issuer, jwksUri, sessionGrace, maxTokenLifetime }, index) => {
    const path = (field: string): (string | number)[] => ['issuers', index, field];
    if (alias === 'system') {
      wrong.push({ path: path('alias'), message: 'the alias system belongs to Kubernetes', fix: 'Write another.' });
    }
    for (const [field, url] of Object.entries({ issuer, jwksUri })) {
      if (url === undefined || url.startsWith('https://') || isLoopback(url)) continue;
      wrong.push({
        path: path(field),
        message: `${field} has no TLS: its keys could be replaced on the way`,
        fix: 'Write https://.',
      });
    }
    if (sessionGrace !== undefined && durationSeconds(sessionGrace) > MAX_GRACE_SECONDS) {
      wrong.push({
        path: path('sessionGrace'),
        message: 'sessionGrace is more than one hour',
        fix: 'Write 1h or less.',
      });
    }
    if (maxTokenLifetime !== undefined && durationSeconds(maxTokenLifetime) === 0) {
      wrong.push({ path: path('maxTokenLifetime'), message: 'no token is that short', fix: 'Write 1h.' });
    }
  });
  const listen = file.listen ?? [];
  twice(
    listen.map(({ connection }) => connection),
    (index) => ['listen', index, 'connection'],
    'the connection',
  );
  const addresses = [
    ...listen.map(({ address }) => address),
    ...(file.metrics?.address === undefined ? [] : [file.metrics.address]),
  ];
  addresses.forEach((address, index) => {
    const path = index < listen.length ? ['listen', index, 'address'] : ['metrics', 'address'];
    const port = Number(address.slice(address.lastIndexOf(':') + 1));
    if (port > 65_535) wrong.push({ path, message: `there is no port ${port}`, fix: 'Write one up to 65535.' });
    else if (port !== 0 && addresses.indexOf(address) !== index) {
      wrong.push({ path, message: `the address ${address} is there twice`, fix: 'Give each its own port.' });
    }
  });
  const credentials = file.credentials ?? [];
  twice(
    credentials.map(({ secret }) => secret),
    (index) => ['credentials', index, 'secret'],
    'the Secret',
  );
  credentials.forEach(({ directory, environment }, index) => {
    if ((directory === undefined) !== (environment === undefined)) return;
    const message = 'a Secret has exactly one of directory and environment';
    wrong.push({ path: ['credentials', index], message, fix: 'Write one of them.' });
  });
  const approvers = file.approvers ?? [];
  twice(
    approvers.map(({ name }) => name),
    (index) => ['approvers', index, 'name'],
    'the approver',
  );
  twice(
    approvers.map(({ publicKey }) => publicKey),
    (index) => ['approvers', index, 'publicKey'],
    'the key',
  );
  approvers.forEach(({ name, publicKey, subjects = [] }, index) => {
    if (Buffer.from(publicKey, 'base64').toString('base64') !== publicKey) {
      const message = `the key of ${name} is not one in base64`;
      wrong.push({ path: ['approvers', index, 'publicKey'], message, fix: 'Copy it whole.' });
    }
    const others = approvers.filter((other) => other.name !== name);
    subjects.forEach((subject, at) => {
      const same = others.find((other) => other.name === subject || other.subjects?.includes(subject) === true);
      if (same === undefined) return;
      wrong.push({
        path: ['approvers', index, 'subjects', at],
        message: `${subject} is ${same.name} already, and two approvers are two people`,
        fix: 'Keep it with the one whom it is.',
      });
    });
  });
  if (file.limits?.authenticationTimeout !== undefined && durationSeconds(file.limits.authenticationTimeout) === 0) {
    const path = ['limits', 'authenticationTimeout'];
    wrong.push({ path, message: 'nobody could sign in within 0s', fix: 'Write 10s.' });
  }
  const isSafe = (url: string): boolean => url.startsWith('https://') || isLoopback(url);
  wrong.push(...outgoingContradictions(file, isSafe, durationSeconds));
  return wrong;
}

export interface ReadConfiguration {
  /** Undefined when there is a finding. */
  readonly configuration: Configuration | undefined;
  readonly findings: readonly Finding[];
  readonly locate: Locate | undefined;
}

/** Reads and checks a SallyportConfiguration; everything that is wrong is told with its place. */
export async function readConfiguration(path: string): Promise<ReadConfiguration> {
  const failed = (code: 'SPA001' | 'SPA002', fill: readonly string[], line = 1, column = 1): ReadConfiguration => ({
    configuration: undefined,
    findings: [{ severity: 'error', file: path, line, column, code, ...apiMessage(code, fill) }],
    locate: undefined,
  });
  let source: string;
  try {
    source = await readFile(path, 'utf8');
  } catch (error) {
    return failed('SPA001', [path, error instanceof Error ? error.message : String(error)]);
  }
  const lines = new LineCounter();
  let document: Document.Parsed;
  let value: unknown;
  try {
    document = parseDocument(source, { lineCounter: lines, prettyErrors: false });
    const [error] = document.errors;
    if (error !== undefined) {
      const { line, col } = lines.linePos(error.pos[0]);
      return failed('SPA002', [error.message.replace(/: ".*$/s, '')], line, col);
    }
    value = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    return failed('SPA002', [error instanceof Error ? error.message : String(error)]);
  }
  const locate = locator(path, document, lines, []);
  const wrong: Wrong[] = checkConfiguration(value)
    ? contradictions(value as ConfigurationFile)
    : structureProblems(checkConfiguration.errors ?? []);
  return {
    configuration: wrong.length > 0 ? undefined : fromFile(value as ConfigurationFile, dirname(path)),
    findings: wrong.map(({ path: field, message, fix }) => ({
      severity: 'error',
      ...locate(field),
      code: 'SPA010',
      message: apiMessage('SPA010', [message]).message,
      fix: fix ?? apiMessage('SPA010', []).fix,
    })),
    locate,
  };
}

/** @throws ApiError SPA010 with everything that is wrong */
export async function loadConfiguration(path: string): Promise<Configuration> {
  const { configuration, findings } = await readConfiguration(resolve(path));
  if (configuration !== undefined) return configuration;
  const told = findings.map(
    ({ file, line, column, message, fix }) =>
      `${file}:${line}:${column}: ${message}${fix === undefined ? '' : ` ${fix}`}`,
  );
  throw new ApiError('SPA016', [told.join('\n  ')]);
}
