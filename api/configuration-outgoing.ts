/** What leaves the gateway, as configured. Paths are absolute once loaded, durations in milliseconds. */
export interface NotificationWebhook {
  readonly url: string;
  readonly secretFile: string;
  readonly includeCommand: boolean;
}

export type ArchiveConfiguration =
  | { readonly type: 'directory'; readonly directory: string }
  | {
      readonly type: 'remote';
      readonly url: string;
      readonly caFile: string;
      readonly certificateFile: string;
      readonly keyFile: string;
    };

export type SinkConfiguration = { readonly name: string; readonly caFile: string | undefined } & (
  | {
      readonly type: 's3';
      readonly endpoint: string;
      readonly region: string;
      readonly bucket: string;
      readonly prefix: string;
      readonly accessKeyIdFile: string;
      readonly secretAccessKeyFile: string;
      readonly flushMs: number;
      readonly objectLock: { readonly mode: 'COMPLIANCE' | 'GOVERNANCE'; readonly retentionDays: number } | undefined;
    }
  | { readonly type: 'otlp'; readonly url: string; readonly headersFile: string | undefined }
  | { readonly type: 'webhook'; readonly url: string; readonly secretFile: string }
);

/** Namespaces that a proxy may write, by its identity; undefined: it is none that may. */
export type ProxyNamespaces = Pick<ReadonlyMap<string, readonly string[]>, 'get'>;

export interface ArchiveServerConfiguration {
  readonly host: string;
  readonly port: number;
  readonly directory: string;
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly clientCaFile: string;
  readonly proxies: ProxyNamespaces | undefined;
  readonly reading: { readonly host: string; readonly port: number } | undefined;
  readonly quotaBytes: number | undefined;
  readonly minFreeBytes: number;
  readonly retentionDays: number;
}

export interface OutgoingConfiguration {
  readonly notifications: { readonly webhooks: readonly NotificationWebhook[] };
  readonly archive: ArchiveConfiguration | undefined;
  readonly sinks: readonly SinkConfiguration[];
  readonly archiveServer: ArchiveServerConfiguration | undefined;
}

interface Tls {
  readonly certificateFile: string;
  readonly keyFile: string;
}

/** The file as it is written. */
export interface OutgoingFile {
  readonly notifications?: {
    readonly webhooks?: readonly {
      readonly url: string;
      readonly secretFile: string;
      readonly includeCommand?: boolean;
    }[];
  };
  readonly archive?: Partial<Tls> & { readonly directory?: string; readonly url?: string; readonly caFile?: string };
  readonly sinks?: readonly SinkFile[];
  readonly archiveServer?: Tls & {
    readonly address: string;
    readonly directory: string;
    readonly clientCaFile: string;
    readonly proxies?: readonly { readonly name: string; readonly namespaces: readonly string[] }[];
    readonly namespacesFromNames?: boolean;
    readonly readingAddress?: string;
    readonly quotaBytes?: number;
    readonly minFreeBytes?: number;
    readonly retentionDays?: number;
  };
}

interface SinkFile {
  readonly name: string;
  readonly s3?: {
    readonly endpoint: string;
    readonly region?: string;
    readonly bucket: string;
    readonly prefix?: string;
    readonly accessKeyIdFile: string;
    readonly secretAccessKeyFile: string;
    readonly caFile?: string;
    readonly flushInterval?: string;
    readonly objectLock?: { readonly mode?: 'Compliance' | 'Governance'; readonly retentionDays: number };
  };
  readonly otlp?: { readonly url: string; readonly headersFile?: string; readonly caFile?: string };
  readonly webhook?: { readonly url: string; readonly secretFile: string; readonly caFile?: string };
}

/** How the rest of the configuration reads its values. */
interface Readers {
  readonly path: (relative: string) => string;
  readonly address: (value: string) => { readonly host: string; readonly port: number };
  readonly seconds: (duration: string) => number;
}

export function outgoingFromFile(file: OutgoingFile, readers: Readers): OutgoingConfiguration {
  return {
    notifications: {
      webhooks: (file.notifications?.webhooks ?? []).map(({ url, secretFile, includeCommand = false }) => ({
        url,
        secretFile: readers.path(secretFile),
        includeCommand,
      })),
    },
    archive: archiveFromFile(file.archive, readers),
    sinks: (file.sinks ?? []).flatMap((sink) => sinkFromFile(sink, readers)),
    archiveServer: serverFromFile(file.archiveServer, readers),
  };
}

function archiveFromFile(file: OutgoingFile['archive'], { path }: Readers): ArchiveConfiguration | undefined {
  if (file?.directory !== undefined) return { type: 'directory', directory: path(file.directory) };
  if (file?.url === undefined) return undefined;
  const { url, caFile = '', certificateFile = '', keyFile = '' } = file;
  return {
    type: 'remote',
    url,
    caFile: path(caFile),
    certificateFile: path(certificateFile),
    keyFile: path(keyFile),
  };
}

function sinkFromFile(sink: SinkFile, { path, seconds }: Readers): SinkConfiguration[] {
  const optional = (file: string | undefined): string | undefined => (file === undefined ? undefined : path(file));
  const { name, s3, otlp, webhook } = sink;
  if (s3 !== undefined) {
    const { endpoint, bucket, region = 'us-east-1', prefix = '', objectLock } = s3;
    const mode = objectLock?.mode === 'Governance' ? 'GOVERNANCE' : 'COMPLIANCE';
    return [
      {
        type: 's3',
        name,
        caFile: optional(s3.caFile),
        endpoint,
        region,
        bucket,
        prefix,
        accessKeyIdFile: path(s3.accessKeyIdFile),
        secretAccessKeyFile: path(s3.secretAccessKeyFile),
        flushMs: seconds(s3.flushInterval ?? '1m') * 1000,
        objectLock: objectLock === undefined ? undefined : { mode, retentionDays: objectLock.retentionDays },
      },
    ];
  }
  if (otlp !== undefined) {
    const { url, headersFile, caFile } = otlp;
    return [{ type: 'otlp', name, caFile: optional(caFile), url, headersFile: optional(headersFile) }];
  }
  if (webhook === undefined) return [];
  const { url, secretFile, caFile } = webhook;
  return [{ type: 'webhook', name, caFile: optional(caFile), url, secretFile: path(secretFile) }];
}

function serverFromFile(
  file: OutgoingFile['archiveServer'],
  { path, address }: Readers,
): ArchiveServerConfiguration | undefined {
  if (file === undefined) return undefined;
  return {
    ...address(file.address),
    directory: path(file.directory),
    certificateFile: path(file.certificateFile),
    keyFile: path(file.keyFile),
    clientCaFile: path(file.clientCaFile),
    proxies: writersOf(file),
    reading: file.readingAddress === undefined ? undefined : address(file.readingAddress),
    quotaBytes: file.quotaBytes,
    minFreeBytes: file.minFreeBytes ?? 268_435_456,
    retentionDays: file.retentionDays ?? 400,
  };
}

function writersOf({ proxies, namespacesFromNames }: NonNullable<OutgoingFile['archiveServer']>) {
  if (namespacesFromNames === true) return NAMED_PROXIES;
  return proxies === undefined ? undefined : new Map(proxies.map(({ name, namespaces }) => [name, namespaces]));
}

/** Certificates that the operator issues: `NAMESPACE/sallyport-proxy`. */
const NAMED_PROXIES: ProxyNamespaces = {
  get(name) {
    const namespace = /^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)\/sallyport-proxy$/.exec(name)?.[1];
    return namespace === undefined ? undefined : [namespace];
  },
};

interface Wrong {
  readonly path: readonly (string | number)[];
  readonly message: string;
  readonly fix: string;
}

/** What the structure cannot say. @param isSafe whether an address is https or on this machine */
export function outgoingContradictions(
  file: OutgoingFile,
  isSafe: (url: string) => boolean,
  seconds: (duration: string) => number,
): Wrong[] {
  const wrong: Wrong[] = [];
  const checkUrl = (url: string | undefined, path: readonly (string | number)[]): void => {
    if (url === undefined || isSafe(url)) return;
    wrong.push({ path, message: 'what is sent there could be read and changed on the way', fix: 'Write https://.' });
  };
  const { archive, archiveServer, sinks = [] } = file;
  if (archiveServer?.namespacesFromNames === true && archiveServer.proxies !== undefined) {
    wrong.push({
      path: ['archiveServer', 'namespacesFromNames'],
      message: 'proxies says already who may write what',
      fix: 'Remove one of the two.',
    });
  }
  const webhooks = file.notifications?.webhooks ?? [];
  webhooks.forEach(({ url }, index) => {
    const path = ['notifications', 'webhooks', index, 'url'];
    checkUrl(url, path);
    if (webhooks.findIndex((other) => other.url === url) !== index) {
      wrong.push({ path, message: `the receiver ${url} is there twice`, fix: 'Keep one of the two.' });
    }
  });
  if (archive !== undefined) wrong.push(...archiveContradictions(archive));
  sinks.forEach(({ name, s3, otlp, webhook }, index) => {
    if ([s3, otlp, webhook].filter((one) => one !== undefined).length !== 1) {
      const message = 'a sink has exactly one of s3, otlp and webhook';
      wrong.push({ path: ['sinks', index], message, fix: 'Write one of them.' });
    }
    if (sinks.findIndex((other) => other.name === name) !== index || name === 'archive') {
      const message = name === 'archive' ? 'archive is the name of the archive' : `the sink ${name} is there twice`;
      wrong.push({ path: ['sinks', index, 'name'], message, fix: 'Give it a name of its own.' });
    }
    checkUrl(s3?.endpoint, ['sinks', index, 's3', 'endpoint']);
    checkUrl(otlp?.url, ['sinks', index, 'otlp', 'url']);
    checkUrl(webhook?.url, ['sinks', index, 'webhook', 'url']);
    const flush = s3?.flushInterval === undefined ? 60 : seconds(s3.flushInterval);
    if (flush > 3600) {
      const message = 'a flushInterval is at most one hour';
      wrong.push({ path: ['sinks', index, 's3', 'flushInterval'], message, fix: 'Write 1m.' });
    }
  });
  const proxies = (file.archiveServer?.proxies ?? []).map(({ name }) => name);
  proxies.forEach((name, index) => {
    if (proxies.indexOf(name) === index) return;
    const path = ['archiveServer', 'proxies', index, 'name'];
    wrong.push({ path, message: `the proxy ${name} is there twice`, fix: 'Keep one of the two.' });
  });
  return wrong;
}

function archiveContradictions(archive: NonNullable<OutgoingFile['archive']>): Wrong[] {
  const { directory, url, caFile, certificateFile, keyFile } = archive;
  if ((directory === undefined) === (url === undefined)) {
    const message = 'an archive has exactly one of directory and url';
    return [{ path: ['archive'], message, fix: 'Write one of them.' }];
  }
  if (url !== undefined && [caFile, certificateFile, keyFile].includes(undefined)) {
    const message = 'an archive at a url is spoken to with caFile, certificateFile and keyFile';
    return [{ path: ['archive'], message, fix: 'Write all three.' }];
  }
  return [];
}
