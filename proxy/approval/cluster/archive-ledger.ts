import { randomUUID } from 'node:crypto';
import { DeliveryError } from '../../../delivery/errors.ts';
import { type Answer, type ClientTls, createHttpClient, type HttpClient } from '../../../delivery/http.ts';
import { ApprovalError } from '../errors.ts';
import type { UsedRequest, UsedRequests } from '../used.ts';

export interface ArchiveLedgerOptions {
  /** Of the archive, such as `https://sallyport-archive.sallyport-system.svc:8444`. */
  readonly url: URL;
  /** The proxy's certificate, and whom it believes to be the archive; read for each request, so that renewal needs no restart. */
  readonly tls: () => Promise<ClientTls>;
  readonly namespace: string;
  /** Ends what is under way. */
  readonly signal: AbortSignal;
}

/** In the way of a command that people wait for: the archive is near, and answers after one write to its disk. */
const TIMEOUT_MS = 5000;
/** A connection that was kept may just have been closed. */
const ATTEMPTS = 2;
const MAX_ANSWER_BYTES = 16_384;
const MAX_REMEMBERED = 10_000;

/**
 * The archive's ledger of used requests. It is apart from the API server's store, so that an etcd that is restored from an older
 * snapshot brings no approval back, and shared by all replicas, of which it lets one run a request.
 */
export function createArchiveLedger(options: ArchiveLedgerOptions): UsedRequests {
  const known = new Set<string>();
  let client: { readonly http: HttpClient; readonly tls: ClientTls } | undefined;

  async function connect(): Promise<HttpClient> {
    const tls = await options.tls();
    const same =
      client?.tls.certificate === tls.certificate && client?.tls.key === tls.key && client?.tls.ca === tls.ca;
    if (client !== undefined && same) return client.http;
    client?.http.close();
    client = { http: createHttpClient(tls), tls };
    return client.http;
  }

  async function ask(method: 'GET' | 'PUT', uid: string, body: string): Promise<Answer> {
    const url = new URL(`/v1/used/${options.namespace}/${encodeURIComponent(uid)}`, options.url);
    for (let attempt = 1; ; attempt++) {
      try {
        const http = await connect();
        const headers = { 'content-type': 'application/json' };
        const outgoing = { method, url, headers, body: Buffer.from(body), timeoutMs: TIMEOUT_MS };
        return await http.send({ ...outgoing, maxAnswerBytes: MAX_ANSWER_BYTES }, options.signal);
      } catch (error) {
        if (attempt < ATTEMPTS && error instanceof DeliveryError) continue;
        throw away(error);
      }
    }
  }

  function remember(uid: string): void {
    if (known.size >= MAX_REMEMBERED) for (const oldest of known) if (known.delete(oldest)) break;
    known.add(uid);
  }

  async function find(uid: string): Promise<UsedRequest | undefined> {
    const answer = await ask('GET', uid, '');
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw new ApprovalError('SPV014', [`it answered with status ${answer.status}`]);
    remember(uid);
    try {
      return JSON.parse(answer.body.toString('utf8')) as UsedRequest;
    } catch (error) {
      throw new ApprovalError('SPV014', ['its answer is not JSON'], error);
    }
  }

  return {
    has: async (uid) => known.has(uid) || (await find(uid)) !== undefined,
    find,
    async claim(used) {
      // Whoever asks twice because the first answer was lost is told the same both times; nobody else has this number.
      const answer = await ask('PUT', used.uid, JSON.stringify({ ...used, attempt: randomUUID() }));
      if (answer.status !== 200 && answer.status !== 201 && answer.status !== 409)
        throw new ApprovalError('SPV014', [`it answered with status ${answer.status}`]);
      remember(used.uid);
      return answer.status !== 409;
    },
    // The archive keeps them as long as votes can live.
    removeBefore: () => Promise.resolve(),
  };
}

function away(error: unknown): ApprovalError {
  return new ApprovalError('SPV014', [error instanceof DeliveryError ? error.code : 'it cannot be reached'], error);
}
