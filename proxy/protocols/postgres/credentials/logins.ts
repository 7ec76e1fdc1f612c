import { randomBytes } from 'node:crypto';
import type { PostgresCredential } from '../../../ports.ts';
import { ControlError } from '../control.ts';
import { scramKeys, scramVerifier } from '../scram.ts';
import type { Admin } from './admin.ts';
import { loginName, quoteName, quoteText, type RoleTag, tagText } from './names.ts';

/** Making and dropping of logins: the SQL, and what a login needs that must go with it. */

export interface Login {
  readonly credential: PostgresCredential & { readonly type: 'password' };
  /** In our time. */
  readonly expiresAt: Date;
}

/** A password that cannot be guessed gains nothing by more rounds; this is what RFC 7677 and PostgreSQL ask for at least. */
const ITERATIONS = 4096;
const PASSWORD_BYTES = 32;
const SALT_BYTES = 16;

/** Name and password of a login that is not made yet: nobody can use it before that, and nobody but us knows it after. */
export type Prepared = Login['credential'] & { readonly scram: NonNullable<Login['credential']['scram']> };

async function prepare(): Promise<Prepared> {
  const password = randomBytes(PASSWORD_BYTES).toString('base64url');
  const salt = randomBytes(SALT_BYTES);
  const keys = await scramKeys(password, salt, ITERATIONS);
  return { type: 'password', username: loginName(), password, scram: { salt, iterations: ITERATIONS, ...keys } };
}

let ahead: Promise<Prepared> | undefined;

/** One is prepared ahead, since hashing takes milliseconds that a session would wait for. */
export function prepareLogin(): Promise<Prepared> {
  const prepared = ahead ?? prepare();
  ahead = prepared.then(prepare);
  // It is asked for by the next session, which then hears of a failure.
  ahead.catch(() => {
    ahead = undefined;
  });
  return prepared;
}

/**
 * Makes a login that is a member of `groups`, with a tag that says whose it is, in one round trip. Only what the server would store of
 * the password is sent to it, so that no log of statements has it.
 * @throws ControlError; as Admin.run
 */
export async function createLogin(
  admin: Admin,
  { username, scram }: Prepared,
  groups: readonly string[],
  tag: Omit<RoleTag, 'expires'>,
  expiresAt: Date,
): Promise<void> {
  const { clockOffsetMs } = await admin.facts();
  const expires = new Date(expiresAt.getTime() + clockOffsetMs).toISOString();
  const name = quoteName(username);
  const verifier = scramVerifier(scram, scram.salt, scram.iterations);
  // A cancel signs in as nobody, and previews run on the session's own connection: one connection is all that is ever needed.
  await admin.run(
    `CREATE ROLE ${name} LOGIN PASSWORD ${quoteText(verifier)} VALID UNTIL ${quoteText(expires)}
       CONNECTION LIMIT 1 NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT${inRole(groups)};
     COMMENT ON ROLE ${name} IS ${quoteText(tagText({ ...tag, expires }))}`,
  );
}

const inRole = (groups: readonly string[]): string =>
  groups.length === 0 ? '' : ` IN ROLE ${groups.map(quoteName).join(', ')}`;

/** Makes a login a member of other roles than before, at once also for the connection that it has. @throws ControlError; as Admin.run */
export async function moveLogin(
  admin: Admin,
  login: string,
  from: readonly string[],
  to: readonly string[],
): Promise<void> {
  const name = quoteName(login);
  const added = to.filter((group) => !from.includes(group)).map((group) => `GRANT ${quoteName(group)} TO ${name}`);
  const taken = from.filter((group) => !to.includes(group)).map((group) => `REVOKE ${quoteName(group)} FROM ${name}`);
  if (added.length + taken.length > 0) await admin.run([...added, ...taken].join('; '));
}

/** How long its connection may take to end by itself, in milliseconds: the server notices a closed socket between two steps. */
const LOOKS_MS = [0, 2, 5, 10, 25, 50, 100, 200, 500, 1000, 2000, 4000] as const;
/** From this look on the connection is ended by force. */
const FORCED = 7;

const UNDEFINED_OBJECT = '42704';
const DEPENDENT_OBJECTS = '2BP01';
/** Somebody changed the same row of the catalog, or waits for the same lock. */
const AGAIN: ReadonlySet<string> = new Set(['XX000', '40P01', '55P03']);

/**
 * Drops a login once nothing is connected as it. What it owns becomes its heir's: the first role that it was a member of.
 * @returns false when something is in the way that stays, such as a connection that does not end
 * @throws ControlError; as Admin.run
 */
export async function dropLogin(admin: Admin, login: string, heir: string | undefined): Promise<boolean> {
  let failure: ControlError | undefined;
  for (const [look, wait] of LOOKS_MS.entries()) {
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    try {
      if (look >= FORCED) await admin.run(endConnections(login, await admin.facts()));
      if (await isConnected(admin, login)) continue;
      await dropUnconnected(admin, login, heir);
      return true;
    } catch (error) {
      if (!(error instanceof ControlError)) throw error;
      if (error.state === UNDEFINED_OBJECT) return true;
      if (!AGAIN.has(error.state)) throw error;
      failure = error;
    }
  }
  if (failure !== undefined) throw failure;
  return false;
}

async function isConnected(admin: Admin, login: string): Promise<boolean> {
  const rows = await admin.run(`SELECT 1 FROM pg_stat_activity WHERE usename = ${quoteText(login)} LIMIT 1`);
  return rows.length > 0;
}

/** Whoever ends a connection has to have the rights of its role. */
function endConnections(login: string, { version, superuser, role }: Awaited<ReturnType<Admin['facts']>>): string {
  const join = superuser ? '' : `${membership(login, role, version)}; `;
  return `${join}SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ${quoteText(login)}`;
}

/** Since PostgreSQL 16 whoever makes a role has its administration, and takes its rights only when saying so. */
const membership = (of: string, member: string, version: number): string =>
  `GRANT ${quoteName(of)} TO ${quoteName(member)}${version >= 160_000 ? ' WITH INHERIT TRUE, SET TRUE' : ''}`;

async function dropUnconnected(admin: Admin, login: string, heir: string | undefined): Promise<void> {
  const name = quoteName(login);
  try {
    await admin.run(`DROP ROLE ${name}`);
  } catch (error) {
    // Only few own anything: the others are gone with one statement.
    if (!(error instanceof ControlError) || error.state !== DEPENDENT_OBJECTS) throw error;
    await leaveTo(admin, login, heir);
  }
}

async function leaveTo(admin: Admin, login: string, heir: string | undefined): Promise<void> {
  const { role, superuser, version } = await admin.facts();
  const name = quoteName(login);
  const to = heir ?? role;
  const joins: string[] = [];
  const leaves: string[] = [];
  if (!superuser) {
    joins.push(membership(login, role, version));
    const [has] = await admin.run(
      `SELECT 1 WHERE pg_has_role(${quoteText(to)}, 'USAGE') AND pg_has_role(${quoteText(to)}, 'MEMBER')`,
    );
    if (to !== role && has === undefined) {
      joins.push(membership(to, role, version));
      leaves.push(`REVOKE ${quoteName(to)} FROM ${quoteName(role)}`);
    }
  }
  const steps = (owner: string, before: readonly string[], after: readonly string[]): string =>
    [
      ...before,
      `REASSIGN OWNED BY ${name} TO ${quoteName(owner)}`,
      `DROP OWNED BY ${name}`,
      ...after,
      `DROP ROLE ${name}`,
    ].join('; ');
  try {
    await admin.run(steps(to, joins, leaves));
  } catch (error) {
    // The heir may not own such things in that schema, or is gone: the admin role takes them.
    if (!(error instanceof ControlError) || to === role) throw error;
    await admin.run(steps(role, superuser ? [] : [membership(login, role, version)], []));
  }
}
