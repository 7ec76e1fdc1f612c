import type { IncomingMessage } from 'node:http';
import { NAMES } from '../../api/cluster.ts';
import { ArchiveError } from '../errors.ts';
import { MAX_NOTE_BYTES, type UsedLedger } from '../store/used-requests.ts';
import { announcedBytes, readBody } from './request-body.ts';

const PATH = /^\/v1\/used\/([^/?]{1,253})\/([^/?]{1,64})$/;

export interface UsedAnswer {
  readonly status: 200 | 201 | 404 | 409;
  readonly body: Buffer;
}

/** Namespace and uid of a request about the ledger of used approvals; undefined: it is about something else. */
export function usedPath(url: string): { readonly namespace: string; readonly uid: string } | undefined {
  const match = PATH.exec(url);
  return match?.[1] === undefined || match[2] === undefined ? undefined : { namespace: match[1], uid: match[2] };
}

/**
 * The namespace whose approvals a proxy may note: the one in its identity, `NAMESPACE/sallyport-proxy`, as the operator's authority
 * issues it. Undefined: it is no proxy of a cluster.
 */
export function namespaceOf(identity: string): string | undefined {
  const [namespace, name, ...rest] = identity.split('/');
  return name === NAMES.proxy && rest.length === 0 ? namespace : undefined;
}

/** PUT notes, GET reads. Undefined: the client left. @throws ArchiveError */
export async function answerUsed(
  ledger: UsedLedger,
  { namespace, uid }: { readonly namespace: string; readonly uid: string },
  request: IncomingMessage,
): Promise<UsedAnswer | undefined> {
  if (request.method === 'GET') {
    const found = await ledger.find(namespace, uid);
    return found === undefined ? { status: 404, body: Buffer.from('{}') } : { status: 200, body: found };
  }
  if (request.method !== 'PUT') throw new ArchiveError('SPH018', [JSON.stringify(`${request.method} ${uid}`)]);
  const length = announcedBytes(request, MAX_NOTE_BYTES);
  const body = await readBody(request, length);
  if (body.length < length) return undefined;
  const outcome = await ledger.claim(namespace, uid, body);
  return { status: outcome === 'made' ? 201 : outcome === 'again' ? 200 : 409, body: Buffer.from('{}') };
}
