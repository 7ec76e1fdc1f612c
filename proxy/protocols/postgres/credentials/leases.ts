import type { CompiledConnection } from '../../../../policy/bundle.ts';
import { credentialEvent, sessionFragment } from '../../../../record/events.ts';
import type { SegmentOwner } from '../../../../record/owner.ts';
import type { RecordingSink } from '../../../../record/port.ts';
import type { CredentialObserver } from '../../../lane.ts';
import type {
  CredentialLease,
  CredentialLeases,
  CredentialSource,
  LeaseRequest,
  PostgresCredential,
} from '../../../ports.ts';
import type { CatalogCache } from '../catalog/cache.ts';
import { issueClientCertificate, readAuthority } from './certificates.ts';
import { CredentialError } from './errors.ts';
import type { Login } from './logins.ts';
import type { RoleTag } from './names.ts';
import { type Announcer, type ConnectionRoles, createConnectionRoles, type RolesOptions } from './roles.ts';
import { sweepLogins, sweepRights } from './sweep.ts';

export interface LeasesOptions {
  readonly credentials: CredentialSource;
  readonly catalogs: (connection: CompiledConnection) => CatalogCache;
  readonly recorder: Pick<RecordingSink, 'stream'>;
  readonly observer: CredentialObserver;
  /** Random, one per state folder or cluster installation; a process and how to know whether another of it lives. */
  readonly installation: string;
  readonly process: SegmentOwner;
  readonly isAlive: (owner: SegmentOwner) => boolean;
  /** Connections that roles may have been made for: swept once a minute. */
  readonly connections: () => readonly CompiledConnection[];
  /** One process of an installation is enough to sweep. */
  readonly sweeps: boolean;
  readonly now?: () => number;
}

export interface PostgresLeases extends CredentialLeases<PostgresCredential> {
  /** The catalog as sessions use it: rights are in step with it when it has been refreshed. */
  catalogOf(connection: CompiledConnection): CatalogCache;
  /** Drops what was left behind; by itself at the start and once a minute. Resolves when all was looked at. */
  sweep(): Promise<void>;
}

const SWEEP_MS = 60_000;
/** DDL from elsewhere is seen by a poll of the catalog every two seconds; rights follow it this often. */
const STEP_MS = 1000;

const labelOf = ({ namespace, name }: CompiledConnection): string => `${namespace}/${name}`;

export function createPostgresLeases(options: LeasesOptions): PostgresLeases {
  const { credentials, observer } = options;
  const now = options.now ?? Date.now;
  const startedAt = now();
  const rolesOptions: RolesOptions = { ...options, now, warn: observer.warn };
  const known = new Map<string, ConnectionRoles>();
  const releasing = new Set<Promise<void>>();

  function rolesOf(connection: CompiledConnection): ConnectionRoles | undefined {
    const { namespace, name, target, credential } = connection;
    if (credential.postgresRole === undefined) return undefined;
    const key = JSON.stringify([namespace, name, target, { ...credential.postgresRole, scope: '' }]);
    let roles = known.get(key);
    if (roles === undefined) {
      roles = createConnectionRoles(connection, credential.postgresRole, rolesOptions);
      known.set(key, roles);
    }
    return roles;
  }

  const members = (session: string, event: Parameters<typeof credentialEvent>[1]): string =>
    credentialEvent(sessionFragment(session), event);

  /** What is revoked is so whether the record can be written or not. */
  async function record(
    connection: CompiledConnection,
    stream: LeaseRequest['stream'],
    revoked: string,
  ): Promise<void> {
    stream.append('credential.revoked', revoked);
    try {
      await stream.sync();
    } catch (error) {
      observer.warn({ connection: labelOf(connection), error: String(error) }, 'a revocation could not be recorded');
    }
  }

  async function stored(
    connection: CompiledConnection,
    request: LeaseRequest,
  ): Promise<CredentialLease<PostgresCredential>> {
    const credential = await credentials.postgres(connection);
    const reference = `AccessConnection ${labelOf(connection)}`;
    request.stream.append(
      'credential.used',
      members(request.session, { type: 'postgres', username: credential.username, reference }),
    );
    await request.stream.sync();
    return {
      credential,
      expiresAt: undefined,
      perCommand: false,
      // A session that has signed in goes on, as with any server whose password was changed.
      follow: () => Promise.resolve(),
      release: () => Promise.resolve(),
    };
  }

  async function madeRole(
    connection: CompiledConnection,
    roles: ConnectionRoles,
    request: LeaseRequest,
  ): Promise<CredentialLease<PostgresCredential>> {
    const reference = `AccessConnection ${labelOf(connection)}`;
    const eventOf = ({ credential }: Login) => ({ type: 'postgres role', username: credential.username, reference });
    const announcer: Announcer = {
      async announce(login) {
        const { stream, session } = request;
        stream.append('credential.issued', members(session, { ...eventOf(login), expires: login.expiresAt }));
        stream.append('credential.used', members(session, eventOf(login)));
        await stream.sync();
      },
      withdraw: (login) =>
        record(
          connection,
          request.stream,
          members(request.session, { ...eventOf(login), reason: 'it could not be made' }),
        ),
    };
    const issuedAt = now();
    const issued = await roles.issue(request.scope, request.session, announcer);
    const { credential, expiresAt } = issued.login;
    let released: Promise<void> | undefined;
    const release = (): Promise<void> => {
      released ??= revoke().finally(() => void releasing.delete(released!));
      releasing.add(released);
      return released;
    };
    const revoke = (): Promise<void> =>
      roles.drop(credential.username, issued.groups[0], async () => {
        observer.ended(connection, 'role', (now() - issuedAt) / 1000);
        await record(connection, request.stream, members(request.session, eventOf(issued.login)));
      });
    if (request.signal.aborted) {
      await release();
      throw request.signal.reason;
    }
    return {
      credential,
      expiresAt,
      perCommand: connection.credential.postgresRole?.scope === 'Statement',
      async follow(next, scope) {
        if (rolesOf(next) !== roles) throw new CredentialError('SPK006', [labelOf(next)]);
        await issued.move(scope);
      },
      release,
    };
  }

  async function certificate(
    connection: CompiledConnection,
    request: LeaseRequest,
  ): Promise<CredentialLease<PostgresCredential>> {
    const wanted = connection.credential.clientCertificate!;
    const label = labelOf(connection);
    const authority = readAuthority(label, await credentials.signingAuthority(connection, wanted.caSecretRef.name));
    const issuedAt = now();
    const { credential, expiresAt } = issueClientCertificate(label, authority, wanted, issuedAt);
    const event = { type: 'postgres certificate', username: wanted.role, reference: `AccessConnection ${label}` };
    request.stream.append('credential.issued', members(request.session, { ...event, expires: expiresAt }));
    request.stream.append('credential.used', members(request.session, event));
    await request.stream.sync();
    let released = false;
    return {
      credential,
      expiresAt,
      perCommand: false,
      async follow(next) {
        const { clientCertificate } = next.credential;
        if (clientCertificate?.role !== wanted.role) throw new CredentialError('SPK006', [labelOf(next)]);
      },
      release() {
        if (released) return Promise.resolve();
        released = true;
        observer.ended(connection, 'certificate', wanted.ttlMs / 1000);
        // No server asks for a list of revoked ones: the key is forgotten, and the certificate ends within minutes.
        const reason = 'its key was discarded';
        return record(connection, request.stream, members(request.session, { ...event, expires: expiresAt, reason }));
      },
    };
  }

  function sweptLogin(login: string, tag: RoleTag, reason: string): void {
    const [namespace = '', name = ''] = tag.connection.split('/');
    // Of a connection that is there no more nothing is recorded: it has no stream.
    if (!options.connections().some((each) => each.namespace === namespace && each.name === name)) return;
    const event = { type: 'postgres role', username: login, reference: `AccessConnection ${tag.connection}`, reason };
    options.recorder.stream(namespace, name).append('credential.revoked', members(tag.session, event));
  }

  async function sweep(): Promise<void> {
    const current = new Set(options.connections().map(rolesOf));
    for (const [key, roles] of known) {
      // Of a connection that is gone, or signs in otherwise now.
      if (current.has(roles) || roles.live.size + roles.undropped.size > 0) continue;
      known.delete(key);
      roles.close();
    }
    const sweepOptions = { ...options, now, dropped: sweptLogin, warn: observer.warn };
    await Promise.all(
      options.connections().map(async (connection) => {
        const roles = rolesOf(connection);
        if (roles === undefined) return;
        try {
          const count = await sweepLogins(roles, sweepOptions);
          if (count > 0) observer.swept(connection, count);
          await sweepRights(roles, sweepOptions, startedAt);
        } catch (error) {
          observer.warn(
            { connection: labelOf(connection), error: String(error) },
            'orphaned logins could not be looked for',
          );
        }
      }),
    );
  }

  /** One at a time: a target that is slow must not be asked again and again. */
  let sweeping: Promise<void> | undefined;
  const sweepOnce = (): Promise<void> => {
    sweeping ??= sweep().finally(() => {
      sweeping = undefined;
    });
    return sweeping;
  };
  const timers = [setInterval(() => void stepAll(), STEP_MS)];
  if (options.sweeps) {
    timers.push(setInterval(() => void sweepOnce(), SWEEP_MS));
    void sweepOnce();
  }
  for (const timer of timers) timer.unref();

  async function stepAll(): Promise<void> {
    await Promise.all([...known.values()].flatMap((roles) => [roles.keepInStep(), roles.dropAgain()]));
  }

  return {
    lease(connection, request) {
      const roles = rolesOf(connection);
      if (roles !== undefined) return madeRole(connection, roles, request);
      return connection.credential.clientCertificate === undefined
        ? stored(connection, request)
        : certificate(connection, request);
    },
    catalogOf(connection) {
      const cache = options.catalogs(connection);
      const roles = rolesOf(connection);
      if (roles === undefined) return cache;
      return {
        ...cache,
        async refresh() {
          const catalog = await cache.refresh();
          // What policy allows on a new table the server must allow before it is asked.
          await roles.keepInStep();
          return catalog;
        },
      };
    },
    sweep: sweepOnce,
    async close(signal) {
      for (const timer of timers) clearInterval(timer);
      const ended = new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        else signal.addEventListener('abort', () => resolve(), { once: true });
      });
      await Promise.race([Promise.all([...releasing, ...(sweeping === undefined ? [] : [sweeping])]), ended]);
      for (const roles of known.values()) roles.close();
    },
  };
}
