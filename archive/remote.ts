import type { ClientTls, HttpClient } from '../delivery/http.ts';
import { createHttpClient } from '../delivery/http.ts';
import { ArchiveError } from './errors.ts';
import { ARCHIVE_DESTINATION, type Batch, type Destination, Rewound, StreamRefused } from './follow/destination.ts';

/** One request: more would make a proxy that was cut off for long hold much memory. */
const MAX_BATCH_BYTES = 4 * 1024 * 1024;
const TIMEOUT_MS = 60_000;
/** Refusals that are about the one stream: others are taken meanwhile. */
const ABOUT_THE_STREAM = new Set([403, 404, 409, 413, 422]);

export interface RemoteArchive {
  readonly url: URL;
  /** Read for each connection, so that certificates are renewed without a restart. */
  readonly tls: () => Promise<ClientTls>;
}

/** The archive over the network. */
export function remoteArchive(archive: RemoteArchive): Destination {
  let client: { readonly http: HttpClient; readonly tls: ClientTls } | undefined;

  async function connect(): Promise<HttpClient> {
    const tls = await archive.tls();
    if (client?.tls.certificate === tls.certificate && client?.tls.ca === tls.ca) return client?.http ?? renew(tls);
    return renew(tls);
  }

  function renew(tls: ClientTls): HttpClient {
    client?.http.close();
    client = { http: createHttpClient(tls), tls };
    return client.http;
  }

  async function deliver(batch: Batch, signal: AbortSignal): Promise<void> {
    const { namespace, name, file } = batch.segment;
    const http = await connect();
    const answer = await http.send(
      {
        method: 'POST',
        url: new URL(`/v1/segments/${namespace}/${name}/${file}?offset=${batch.offset}`, archive.url),
        headers: { 'content-type': 'application/jsonl' },
        body: batch.bytes,
        timeoutMs: TIMEOUT_MS,
        maxAnswerBytes: 4096,
      },
      signal,
    );
    if (answer.status === 200) return;
    const { code, size } = parseAnswer(answer.body);
    if (code === 'SPH002' && size !== undefined) throw new Rewound(size);
    const facts = `status ${answer.status}${code === undefined ? '' : `, ${code}`}`;
    const error = new ArchiveError('SPH016', [`${namespace}/${name}/${file}`, facts], undefined, answer.retryAfterMs);
    if (ABOUT_THE_STREAM.has(answer.status)) throw new StreamRefused(error.message, { cause: error });
    throw error;
  }

  return {
    name: ARCHIVE_DESTINATION,
    maxBatchBytes: MAX_BATCH_BYTES,
    lingerMs: 0,
    deliver,
    close: () => client?.http.close(),
  };
}

function parseAnswer(body: Buffer): { readonly code?: string; readonly size?: number } {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch {
    // Something in between answered, and not the archive: its status says enough.
    return {};
  }
  if (typeof value !== 'object' || value === null) return {};
  return {
    ...('code' in value && typeof value.code === 'string' && /^SPH\d{3}$/.test(value.code) ? { code: value.code } : {}),
    ...('size' in value && typeof value.size === 'number' ? { size: value.size } : {}),
  };
}
