import { fingerprint } from '../../../../certificate/openssh/public-key.ts';
import type { AuthorizedKey, CompiledConnection, SshSubject, TrustedUserCA } from '../../../../policy/bundle.ts';
import type { Subject } from '../../../../policy/subject.ts';
import type { BundleSource } from '../../../ports.ts';
import { SshIdentityError } from './errors.ts';

/** What an AccessConnection says of keys, and what has become of it since somebody signed in with one. */
export interface Registrations {
  /**
   * Aborted when the bundle in force says something else of the key than it did: the sessions that it opened end then. One for each
   * key, or principal of an authority, however many sessions there are.
   */
  withdrawal(registration: Registration): AbortSignal;
  close(): void;
}

/** Where in a connection it stands that somebody is somebody. */
export type Registration = {
  readonly connection: { readonly namespace: string; readonly name: string };
  readonly subject: SshSubject;
} & (
  | { readonly type: 'key'; readonly blob: Buffer }
  | { readonly type: 'authority'; readonly blob: Buffer; readonly principal: string }
);

/** The blob of a line that the schema has checked; what is not one equals no key. */
export const blobOf = (line: string): Buffer => Buffer.from(line.split(' ')[1] ?? '', 'base64');

export const keyOf = (connection: CompiledConnection, blob: Buffer): AuthorizedKey | undefined =>
  connection.ssh.authorizedKeys.find(({ publicKey }) => blobOf(publicKey).equals(blob));

export const authorityOf = (connection: CompiledConnection, blob: Buffer): TrustedUserCA | undefined =>
  connection.ssh.trustedUserCAs.find(({ publicKey }) => blobOf(publicKey).equals(blob));

const sameSubject = (a: SshSubject, b: SshSubject): boolean =>
  a.user === b.user &&
  a.serviceAccount?.namespace === b.serviceAccount?.namespace &&
  a.serviceAccount?.name === b.serviceAccount?.name;

/** Whether the connection still says what it said when somebody signed in. */
function holds(connection: CompiledConnection | undefined, registration: Registration): boolean {
  if (connection === undefined) return false;
  if (registration.type === 'key') {
    const key = keyOf(connection, registration.blob);
    return key !== undefined && sameSubject(key, registration.subject);
  }
  const { principal } = registration;
  const mapped = authorityOf(connection, registration.blob)?.subjects.find((each) => each.principal === principal);
  return mapped !== undefined && sameSubject(mapped.subject, registration.subject);
}

export function createRegistrations(bundles: BundleSource): Registrations {
  const known = new Map<string, { readonly registration: Registration; readonly ending: AbortController }>();
  const unsubscribe = bundles.onChange((bundle) => {
    for (const [key, { registration, ending }] of known) {
      const { namespace, name } = registration.connection;
      if (holds(bundle.connection(namespace, name), registration)) continue;
      known.delete(key);
      ending.abort(new SshIdentityError('SPI046', [fingerprint(registration.blob), `${namespace}/${name}`]));
    }
  });
  return {
    withdrawal(registration) {
      const { connection, blob, ...rest } = registration;
      const key = JSON.stringify([connection.namespace, connection.name, blob.toString('base64'), rest]);
      let entry = known.get(key);
      if (entry === undefined) {
        entry = { registration, ending: new AbortController() };
        // As many as keys and principals are written in the connections: what is written no more is removed.
        known.set(key, entry);
      }
      return entry.ending.signal;
    },
    close: unsubscribe,
  };
}

/** Whom policies are about: a service account with the groups that an API server gives it, or `ALIAS:SUBJECT` without any. */
export function subjectOf({ serviceAccount, user }: SshSubject): Subject {
  if (serviceAccount !== undefined) {
    const { namespace, name } = serviceAccount;
    return {
      username: `system:serviceaccount:${namespace}:${name}`,
      serviceAccount: { namespace, name },
      groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
      claims: {},
    };
  }
  return { username: user, issuer: user.slice(0, user.indexOf(':')), groups: [], claims: {} };
}
