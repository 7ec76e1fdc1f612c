import type { CompiledConnection, PolicyScope, PostgresRole } from '../../../../policy/bundle.ts';
import type { SegmentOwner } from '../../../../record/owner.ts';
import type { CredentialSource } from '../../../ports.ts';
import type { CatalogCache } from '../catalog/cache.ts';
import { ControlError } from '../control.ts';
import { type Admin, createAdmin } from './admin.ts';
import { CredentialError } from './errors.ts';
import { createLogin, dropLogin, type Login, moveLogin, prepareLogin } from './logins.ts';
import { quoteText } from './names.ts';
import { createRightsRoles, type RightsRoles } from './rights-roles.ts';

/** The roles of one connection: logins that come and go, the roles that give them rights, and the one connection that makes both. */
export interface ConnectionRoles {
  readonly connection: CompiledConnection;
  readonly admin: Admin;
  readonly rights: RightsRoles;
  /**
   * Makes a login. Each that is tried is announced while it is made, and withdrawn when that failed.
   * @throws CredentialError, UpstreamError; what `announce` throws
   */
  issue(scope: PolicyScope, session: string, announcer: Announcer): Promise<Issued>;
  /** Brings rights roles in use up to date with the catalog. Failures go to the log: what is missing the server refuses. */
  keepInStep(): Promise<void>;
  /** Drops a login; what fails is tried again by `dropAgain`. Resolves after the first try. @param dropped called once it is gone */
  drop(login: string, heir: string | undefined, dropped: () => Promise<void>): Promise<void>;
  dropAgain(): Promise<void>;
  /** Logins of this process that are in use, by name. */
  readonly live: Map<string, Issued>;
  /** Logins that are released and still there. */
  readonly undropped: ReadonlyMap<string, unknown>;
  close(): void;
}

/** Where the making of logins is recorded. */
export interface Announcer {
  announce(login: Login): Promise<void>;
  withdraw(login: Login): Promise<void>;
}

export interface Issued {
  readonly login: Login;
  readonly session: string;
  groups: readonly string[];
  /** Puts it under other rights. @throws as `issue` */
  move(scope: PolicyScope): Promise<void>;
  scope: PolicyScope;
}

export interface RolesOptions {
  readonly credentials: CredentialSource;
  readonly catalogs: (connection: CompiledConnection) => CatalogCache;
  readonly installation: string;
  readonly process: SegmentOwner;
  readonly now: () => number;
  readonly warn: (detail: object, message: string) => void;
}

interface Undropped {
  readonly heir: string | undefined;
  readonly dropped: () => Promise<void>;
}

/** Between two tries to drop what could not be dropped, in milliseconds. */
const AGAIN_MS = 5000;
const NO_SUCH_ROLE = '42704';
const NOT_ALLOWED = '42501';
const ATTEMPTS = 3;

/** Roles that can make or be anything: through SET ROLE their attributes come with membership. */
const tooMuch = (role: string): string => `SELECT m.rolname FROM pg_roles m WHERE m.rolname = ${quoteText(role)} AND
  (m.rolsuper OR EXISTS (SELECT FROM pg_roles r WHERE (r.rolsuper OR r.rolcreaterole) AND pg_has_role(m.oid, r.oid, 'MEMBER')))`;

export function createConnectionRoles(
  connection: CompiledConnection,
  role: PostgresRole,
  options: RolesOptions,
): ConnectionRoles {
  const { installation, now, warn } = options;
  const label = `${connection.namespace}/${connection.name}`;
  const database = connection.target.database ?? '';
  const admin = createAdmin(connection, role.adminSecretRef.name, options.credentials);
  const rights = createRightsRoles({ admin, installation, connection: label, database, now, warn });
  const live = new Map<string, Issued>();
  const undropped = new Map<string, Undropped>();
  let droppingAgain: Promise<void> | undefined;
  let lastTry = 0;
  let step: { readonly generation: number; readonly done: Promise<void> } | undefined;
  let checked: object | undefined;

  /** Once for each connection of the admin's: what memberOf names must not be a way to more. */
  async function checkMembership(): Promise<void> {
    await admin.facts();
    if (checked === admin.epoch) return;
    for (const name of role.memberOf) {
      if ((await admin.run(tooMuch(name))).length > 0) throw new CredentialError('SPK004', [label, name]);
    }
    checked = admin.epoch;
  }

  async function generation(): Promise<number> {
    const catalogs = options.catalogs(connection);
    return (catalogs.current() ?? (await catalogs.refresh())).generation;
  }

  /** First the role that its objects are left to. */
  async function groupsOf(scope: PolicyScope): Promise<readonly string[]> {
    await checkMembership();
    const own = role.grantsFromPolicy ? [await rights.ensure(scope.rights, await generation())] : [];
    return [...role.memberOf, ...own];
  }

  /** Runs what needs the rights roles to be there: another proxy may just have dropped one that nobody used. */
  async function withGroups<T>(scope: PolicyScope, run: (groups: readonly string[]) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const groups = await groupsOf(scope);
      try {
        return await run(groups);
      } catch (error) {
        const lost = !(error instanceof ControlError);
        if (lost && attempt === 1 && !(error instanceof CredentialError)) continue;
        if (lost) throw error;
        for (const name of rights.used.keys()) if (groups.includes(name)) rights.forget(name);
        if (error.state === NO_SUCH_ROLE && attempt < ATTEMPTS) continue;
        throw await explained(error);
      }
    }
  }

  async function explained(error: ControlError): Promise<CredentialError> {
    if (error.state !== NO_SUCH_ROLE && error.state !== NOT_ALLOWED)
      return new CredentialError('SPK002', [label, error.state], error);
    const { version, superuser } = await admin.facts();
    for (const name of role.memberOf) {
      const [found] = await admin.run(
        `SELECT pg_has_role(oid, 'MEMBER WITH ADMIN OPTION') FROM pg_roles WHERE rolname = ${quoteText(name)}`,
      );
      if (found === undefined || (version >= 160_000 && !superuser && found[0] !== 't'))
        return new CredentialError('SPK003', [label, name], error);
    }
    return new CredentialError('SPK002', [label, error.state], error);
  }

  /** False when the target cannot be asked at all. */
  async function tryDrop(login: string, { heir, dropped }: Undropped): Promise<boolean> {
    try {
      if (!(await dropLogin(admin, login, heir))) return true;
      // A second try may have been under way.
      if (undropped.delete(login)) await dropped();
      return true;
    } catch (error) {
      lastTry = now();
      const sqlstate = error instanceof ControlError ? error.state : undefined;
      warn({ connection: label, role: login, sqlstate, error: String(error) }, 'a login could not be dropped yet');
      return error instanceof ControlError;
    }
  }

  async function dropAll(): Promise<void> {
    lastTry = now();
    for (const [login, entry] of [...undropped]) if (!(await tryDrop(login, entry))) return;
  }

  async function stepTo(seen: number): Promise<void> {
    const scopes = new Map([...live.values()].map(({ scope }) => [scope.rights.key, scope]));
    for (const scope of scopes.values()) {
      try {
        await rights.ensure(scope.rights, seen);
      } catch (error) {
        step = undefined;
        warn({ connection: label, error: String(error) }, 'rights could not be brought in step with the catalog');
      }
    }
  }

  const self: ConnectionRoles = {
    connection,
    admin,
    rights,
    live,
    undropped,
    async issue(scope, session, announcer) {
      const tag = { installation, connection: label, owner: options.process, session };
      return withGroups(scope, async (groups) => {
        const prepared = await prepareLogin();
        const login: Login = { credential: prepared, expiresAt: new Date(now() + role.ttlMs) };
        // Whichever takes longer is waited for: nothing is used before both are done.
        const [made, announced] = await Promise.allSettled([
          createLogin(admin, prepared, groups, tag, login.expiresAt),
          announcer.announce(login),
        ]);
        if (announced.status === 'rejected') {
          if (made.status === 'fulfilled') await self.drop(prepared.username, groups[0], () => Promise.resolve());
          throw announced.reason;
        }
        if (made.status === 'rejected') {
          await announcer.withdraw(login);
          throw made.reason;
        }
        let moving: Promise<void> = Promise.resolve();
        const issued: Issued = {
          login,
          session,
          groups,
          scope,
          move(to) {
            // One after another: of two that overlap neither would know what the other has changed.
            moving = moving
              .catch(() => undefined)
              .then(async () => {
                if (to.rights.key === issued.scope.rights.key) return;
                await withGroups(to, async (next) => {
                  await moveLogin(admin, login.credential.username, issued.groups, next);
                  issued.groups = next;
                });
                issued.scope = to;
              });
            return moving;
          },
        };
        live.set(login.credential.username, issued);
        return issued;
      });
    },
    async keepInStep() {
      if (!role.grantsFromPolicy || live.size === 0) return;
      const seen = options.catalogs(connection).current()?.generation;
      if (seen === undefined) return;
      if (step?.generation !== seen) step = { generation: seen, done: stepTo(seen) };
      await step.done;
      // What could not be done is tried again at the next look.
      if (rights.incomplete.size > 0) step = undefined;
    },
    async drop(login, heir, dropped) {
      live.delete(login);
      undropped.set(login, { heir, dropped });
      await tryDrop(login, { heir, dropped });
    },
    dropAgain() {
      if (undropped.size === 0 || now() - lastTry < AGAIN_MS) return Promise.resolve();
      droppingAgain ??= dropAll().finally(() => {
        droppingAgain = undefined;
      });
      return droppingAgain;
    },
    close: () => admin.close(),
  };
  return self;
}
