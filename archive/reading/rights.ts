import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { isLedger } from '../../record/ledger.ts';
import { subfolders } from '../../record/segment.ts';
import { ArchiveError } from '../errors.ts';
import { ARCHIVE_AUDIENCE, type Auditor, type AuditScope, type Reviews } from './auditor.ts';
import { createRemembered } from './remembered.ts';

/** How long a right is believed: so long may somebody read on who has lost it. */
const BELIEVED_MS = 10_000;
const MAX_TOKEN = 16_384;
/** Questions to the API server at one time for one listing. */
const AT_ONCE = 8;

/** The connections whose record somebody may read. */
export interface Permitted {
  /** Everything, also what is about no connection, such as which segments retention removed. */
  readonly all: boolean;
  permits(namespace: string, name: string): boolean;
}

export interface Rights {
  /** @throws ArchiveError SPH030, SPH034 */
  identify(request: IncomingMessage): Promise<Auditor>;
  /**
   * What of the record in `root` is theirs, within the scope. @throws ArchiveError SPH031 when the scope names a connection and it is not;
   * SPH034
   */
  permitted(auditor: Auditor, scope: AuditScope, root: string): Promise<Permitted>;
}

/** @param takesCertificates whether the authorities of the cluster's client certificates are known */
export function createRights(reviews: Reviews, now: () => number, takesCertificates: () => boolean): Rights {
  const tokens = createRemembered<Auditor | undefined>(BELIEVED_MS, now);
  const rights = createRemembered<boolean>(BELIEVED_MS, now);

  async function asked<T>(question: () => Promise<T>): Promise<T> {
    try {
      return await question();
    } catch (error) {
      throw new ArchiveError('SPH034', [error instanceof Error ? error.message : String(error)], error);
    }
  }

  function may(auditor: Auditor, scope: AuditScope): Promise<boolean> {
    const key = JSON.stringify([auditor, scope.namespace ?? '', scope.name ?? '']);
    return asked(() => rights.get(key, () => reviews.mayAudit(auditor, scope)));
  }

  async function bearer(token: string): Promise<Auditor> {
    if (token.length > MAX_TOKEN) throw new ArchiveError('SPH030', ['the token is too long']);
    const audience = audiencesOf(token).includes(ARCHIVE_AUDIENCE) ? ARCHIVE_AUDIENCE : undefined;
    const key = createHash('sha256').update(token).digest('base64');
    const auditor = await asked(() => tokens.get(key, () => reviews.token(token, audience)));
    if (auditor === undefined) throw new ArchiveError('SPH030', ['the API server does not accept the token']);
    return auditor;
  }

  /** Those of the connections in the record that are theirs, asked for one by one. */
  async function oneByOne(auditor: Auditor, scope: AuditScope, root: string): Promise<Set<string>> {
    const candidates: string[] = [];
    const allowed = new Set<string>();
    for (const namespace of scope.namespace === undefined ? await subfolders(root) : [scope.namespace]) {
      const names = await subfolders(join(root, namespace));
      const whole = names.length > 1 && (await may(auditor, { namespace }));
      for (const name of names) {
        if (whole) allowed.add(`${namespace}/${name}`);
        else candidates.push(`${namespace}/${name}`);
      }
    }
    const next = candidates.values();
    const worker = async (): Promise<void> => {
      for (const key of next) {
        const [namespace = '', name = ''] = key.split('/');
        if (await may(auditor, { namespace, name })) allowed.add(key);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    return allowed;
  }

  return {
    async identify(request) {
      const token = /^Bearer +([\x21-\x7e]+)$/i.exec(request.headers.authorization ?? '')?.[1];
      if (token !== undefined) return bearer(token);
      if (request.headers.authorization !== undefined) throw new ArchiveError('SPH030', ['that is no bearer token']);
      if (!takesCertificates()) throw new ArchiveError('SPH030', ['no token, and certificates are not taken']);
      return certified(request);
    },
    async permitted(auditor, scope, root) {
      if (await may(auditor, {})) return { all: true, permits: () => true };
      const { namespace, name } = scope;
      if (namespace !== undefined && name !== undefined) {
        if (isLedger({ namespace, name }) || !(await may(auditor, scope)))
          throw new ArchiveError('SPH031', [auditor.username, `${namespace}/${name}`]);
        return { all: false, permits: (...other) => other[0] === namespace && other[1] === name };
      }
      const allowed = await oneByOne(auditor, scope, root);
      return {
        all: false,
        permits: (...other) => !isLedger({ namespace: other[0], name: other[1] }) && allowed.has(other.join('/')),
      };
    },
  };
}

/** Audiences that a token claims: only tells how to have it checked, and is believed for nothing else. */
function audiencesOf(token: string): readonly string[] {
  try {
    const claims: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
    if (typeof claims !== 'object' || claims === null || !('aud' in claims)) return [];
    return [claims.aud].flat().filter((each) => typeof each === 'string');
  } catch {
    // Not a JWT: such tokens have the audience of the API server.
    return [];
  }
}

/** A client certificate of the cluster: user and groups as the API server reads them (CN and O). @throws ArchiveError SPH030 */
function certified({ socket }: IncomingMessage): Auditor {
  if (!(socket instanceof TLSSocket)) throw new ArchiveError('SPH030', ['no TLS']);
  const { subject } = socket.getPeerCertificate();
  if (subject === undefined) throw new ArchiveError('SPH030', ['neither a token nor a certificate']);
  if (!socket.authorized) throw new ArchiveError('SPH030', ['the certificate is none of this cluster']);
  const name: unknown = subject.CN;
  if (typeof name !== 'string' || name === '')
    throw new ArchiveError('SPH030', ['the certificate has not one common name']);
  const groups: unknown = subject.O;
  const named = [groups].flat().filter((group) => typeof group === 'string');
  return { username: name, groups: [...named, 'system:authenticated'] };
}
