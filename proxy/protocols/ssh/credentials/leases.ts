import type { CompiledConnection } from '../../../../policy/bundle.ts';
import { credentialEvent, sessionFragment } from '../../../../record/events.ts';
import type { CredentialObserver } from '../../../lane.ts';
import type {
  CredentialLease,
  CredentialLeases,
  CredentialSource,
  SshCredential,
  SshLeaseRequest,
} from '../../../ports.ts';
import { issueUserCertificate } from './certificates.ts';
import { SshCredentialError } from './errors.ts';

export interface SshLeasesOptions {
  readonly credentials: CredentialSource;
  readonly observer: CredentialObserver;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

const labelOf = ({ namespace, name }: CompiledConnection): string => `${namespace}/${name}`;

/** Longest key id; sshd logs all of it. */
const MAX_KEY_ID = 512;

/** `SUBJECT session ID`, as one line of printable text: it stands in the target's own log. */
function keyId(username: string, session: string): string {
  const printable = username.replaceAll(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, '?');
  return `${printable.slice(0, MAX_KEY_ID - session.length)} session ${session}`;
}

/** A credential until its lease ends: then nothing here leads to it any more, and OpenSSL clears a key that nobody holds. */
function hold(credential: SshCredential): { current(): SshCredential; forget(): void } {
  let held: SshCredential | undefined = credential;
  return {
    current() {
      if (held === undefined) throw new Error('the credential was given back');
      return held;
    },
    forget() {
      held = undefined;
    },
  };
}

/** What SSH connections sign in with: certificates, or what a Secret holds. */
export function createSshLeases(options: SshLeasesOptions): CredentialLeases<SshCredential, SshLeaseRequest> {
  const { credentials, observer } = options;
  const now = options.now ?? Date.now;
  const releasing = new Set<Promise<void>>();

  async function stored(
    connection: CompiledConnection,
    { session, stream, loginUser }: SshLeaseRequest,
  ): Promise<CredentialLease<SshCredential>> {
    const found = await credentials.ssh(connection);
    const username = found.username ?? loginUser;
    // What policy was asked about is what the client named: signing in as somebody else would make its answer worthless.
    if (username !== loginUser) throw new SshCredentialError('SPK023', [labelOf(connection), username, loginUser]);
    const event = { type: `ssh ${found.type}`, username, reference: `AccessConnection ${labelOf(connection)}` };
    stream.append('credential.used', credentialEvent(sessionFragment(session), event));
    await stream.sync();
    const credential: SshCredential =
      found.type === 'password'
        ? { type: 'password', username, password: found.password }
        : { type: 'key', username, privateKey: found.privateKey };
    const held = hold(credential);
    return {
      get credential() {
        return held.current();
      },
      expiresAt: undefined,
      perCommand: false,
      // A session that has signed in goes on, as with any server whose authorized_keys was changed.
      follow: () => Promise.resolve(),
      async release() {
        held.forget();
      },
    };
  }

  async function certificate(
    connection: CompiledConnection,
    request: SshLeaseRequest,
  ): Promise<CredentialLease<SshCredential>> {
    const wanted = connection.credential.sshCertificate!;
    const { session, stream, loginUser } = request;
    const label = labelOf(connection);
    const issued = issueUserCertificate({
      label,
      authority: await credentials.sshAuthority(connection, wanted.caSecretRef.name),
      wanted,
      loginUser,
      keyId: keyId(request.subject.username, session),
      operations: request.scope.operations(loginUser),
      localAddress: request.localAddress,
      now: now(),
    });
    const { expiresAt } = issued;
    const event = { type: 'ssh certificate', username: loginUser, reference: `AccessConnection ${label}` };
    const members = (more: object): string => credentialEvent(sessionFragment(session), { ...event, ...more });
    const held = hold(issued.credential);
    let released: Promise<void> | undefined;

    async function discard(): Promise<void> {
      held.forget();
      observer.ended(connection, 'certificate', wanted.ttlMs / 1000);
      // No server asks for a list of revoked ones: the key is forgotten, and the certificate ends within minutes.
      stream.append('credential.revoked', members({ expires: expiresAt, reason: 'its key was discarded' }));
      try {
        await stream.sync();
      } catch (error) {
        observer.warn({ connection: label, error: String(error) }, 'a revocation could not be recorded');
      }
    }

    stream.append('credential.issued', members({ expires: expiresAt }));
    stream.append('credential.used', members({}));
    await stream.sync();
    if (request.signal.aborted) {
      await discard();
      throw request.signal.reason;
    }
    return {
      get credential() {
        return held.current();
      },
      expiresAt,
      perCommand: wanted.scope === 'Command',
      async follow(next) {
        const { sshCertificate } = next.credential;
        if (sshCertificate?.principals.includes(loginUser) !== true)
          throw new SshCredentialError('SPK024', [labelOf(next)]);
      },
      release() {
        if (released === undefined) {
          released = discard().finally(() => void releasing.delete(released!));
          releasing.add(released);
        }
        return released;
      },
    };
  }

  return {
    lease: (connection, request) =>
      connection.credential.sshCertificate === undefined
        ? stored(connection, request)
        : certificate(connection, request),
    async close(signal) {
      const ended = new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        else signal.addEventListener('abort', () => resolve(), { once: true });
      });
      await Promise.race([Promise.all(releasing), ended]);
    },
  };
}
