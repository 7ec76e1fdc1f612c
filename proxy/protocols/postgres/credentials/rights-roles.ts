import type { Rights } from '../../../../policy/rights.ts';
import { ControlError } from '../control.ts';
import type { Admin } from './admin.ts';
import { CredentialError } from './errors.ts';
import { grantableOf, planGrants, readGrantable } from './grants.ts';
import { quoteName, quoteText, rightsName, rightsTag } from './names.ts';

/**
 * The roles that hold rights and cannot sign in: one for each set of rights that policy gives on one database, shared by all logins
 * with these rights, and kept in step with the objects that are there.
 */
export interface RightsRoles {
  /**
   * Name of the role that holds `rights`, made and brought up to date first where needed. Nothing is asked of the server when the
   * catalog has not moved since. @throws CredentialError SPK005 when it holds, or may hold, more than it should; as Admin.run
   */
  ensure(rights: Rights, catalogGeneration: number): Promise<string>;
  /** Rights roles that this process has handed out, with the time of the last. */
  readonly used: ReadonlyMap<string, number>;
  /** Some of what they should hold could not be granted yet. */
  readonly incomplete: ReadonlySet<string>;
  forget(name: string): void;
}

export interface RightsRolesOptions {
  readonly admin: Admin;
  readonly installation: string;
  /** `NAMESPACE/NAME`. */
  readonly connection: string;
  readonly database: string;
  readonly now: () => number;
  readonly warn: (detail: object, message: string) => void;
}

/** Somebody else changed the same object, or the role was made by another proxy meanwhile: look again. */
const ATTEMPTS = 5;
/** An open transaction holds the object: it is not waited for again, since the agent may be who holds it. */
const LOCKED = '55P03';
const AGAIN: ReadonlySet<string> = new Set([
  '42P01',
  '3F000',
  '42883',
  '42704',
  '42710',
  '23505',
  '40P01',
  'XX000',
  LOCKED,
]);
const SHOWN = 5;

/** Concurrent GRANTs on one object fail with `tuple concurrently updated`: proxies take turns, per database. */
const LOCK = `SELECT pg_advisory_xact_lock(hashtextextended('sallyport rights', 0))`;

interface State {
  readonly epoch: object;
  readonly generation: number;
  readonly done: Promise<void>;
}

export function createRightsRoles(options: RightsRolesOptions): RightsRoles {
  const { admin, installation, connection, database } = options;
  const states = new Map<string, State>();
  const used = new Map<string, number>();
  const incomplete = new Set<string>();

  async function make(name: string): Promise<void> {
    const [found] = await admin.run(`SELECT 1 FROM pg_roles WHERE rolname = ${quoteText(name)}`);
    if (found !== undefined) return;
    try {
      await admin.run(
        `CREATE ROLE ${quoteName(name)} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
         COMMENT ON ROLE ${quoteName(name)} IS ${quoteText(rightsTag(installation, connection))}`,
      );
    } catch (error) {
      // Another proxy was quicker.
      if (!(error instanceof ControlError) || (error.state !== '42710' && error.state !== '23505')) throw error;
    }
  }

  async function synchronise(name: string, rights: Rights): Promise<void> {
    const { version } = await admin.facts();
    for (let attempt = 1; ; attempt++) {
      try {
        await make(name);
        const plan = planGrants(name, rights, version, grantableOf(await admin.run(readGrantable(name))));
        if (plan.stuck.length > 0) throw tooMuch(name, plan.stuck);
        const changes = [...plan.revokes, ...plan.grants];
        if (changes.length > 0) await admin.run([LOCK, ...changes].join(';\n'));
        incomplete.delete(name);
        if (plan.refused.length > 0) refusedGrants(name, plan.refused);
        return;
      } catch (error) {
        if (!(error instanceof ControlError)) throw error;
        if (!AGAIN.has(error.state)) throw new CredentialError('SPK005', [connection, error.state], error);
        if (attempt === ATTEMPTS || error.state === LOCKED) return onlyLess(name, rights, version, error);
      }
    }
  }

  /** What could not be given may come later, such as on a table that an open transaction has locked; what could not be taken may not. */
  async function onlyLess(name: string, rights: Rights, version: number, cause: ControlError): Promise<void> {
    const plan = planGrants(name, rights, version, grantableOf(await admin.run(readGrantable(name))));
    if (plan.stuck.length > 0) throw tooMuch(name, plan.stuck);
    let failed = 0;
    for (const statement of plan.revokes) {
      try {
        await admin.run(`${LOCK};\n${statement}`);
      } catch (error) {
        if (!(error instanceof ControlError)) throw error;
        throw new CredentialError('SPK005', [connection, error.state], error);
      }
    }
    for (const statement of plan.grants) {
      try {
        await admin.run(`${LOCK};\n${statement}`);
      } catch (error) {
        if (!(error instanceof ControlError)) throw error;
        failed++;
      }
    }
    states.delete(name);
    incomplete.add(name);
    options.warn({ connection, role: name, failed, sqlstate: cause.state }, 'some rights could not be granted yet');
  }

  /** Rather no login than one with more than policy gives. */
  function tooMuch(name: string, stuck: readonly string[]): CredentialError {
    options.warn(
      { connection, role: name, surplus: stuck.slice(0, SHOWN) },
      'a role has rights that policy does not give and the admin role cannot take: give it USAGE on the schema',
    );
    return new CredentialError('SPK005', [connection, '42501']);
  }

  function refusedGrants(name: string, refused: readonly string[]): void {
    options.warn(
      { connection, role: name, missing: refused.length, such: refused.slice(0, SHOWN) },
      'policy gives rights that the admin role cannot grant: it has to own the objects, or be a member of their owner',
    );
  }

  return {
    used,
    incomplete,
    forget(name) {
      states.delete(name);
      incomplete.delete(name);
      used.delete(name);
    },
    async ensure(rights, generation) {
      const name = rightsName(installation, connection, database, rights.key);
      used.set(name, options.now());
      // Opens the connection: what was known before it broke counts no more.
      await admin.facts();
      const known = states.get(name);
      if (known?.epoch === admin.epoch && known.generation >= generation) {
        await known.done;
        return name;
      }
      // One after another: a read that an earlier change overtakes would undo it.
      const before = known?.done.catch(() => undefined) ?? Promise.resolve();
      const done = before.then(() => synchronise(name, rights));
      states.set(name, { epoch: admin.epoch, generation, done });
      try {
        await done;
      } catch (error) {
        if (states.get(name)?.done === done) states.delete(name);
        throw error;
      }
      return name;
    },
  };
}
