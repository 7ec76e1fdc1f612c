import type { SegmentOwner } from '../../../../record/owner.ts';
import { ControlError } from '../control.ts';
import { dropLogin } from './logins.ts';
import { LOGIN_PREFIX, parseRightsTag, parseTag, quoteName, quoteText, RIGHTS_PREFIX, type RoleTag } from './names.ts';
import type { ConnectionRoles } from './roles.ts';

/** Takes away what nobody will come back for: logins of processes that died, and rights roles that nobody is a member of. */

export interface SweepOptions {
  readonly installation: string;
  /** Whether a process of this installation still runs. */
  readonly isAlive: (owner: SegmentOwner) => boolean;
  readonly now: () => number;
  readonly dropped: (login: string, tag: RoleTag, reason: string) => void;
  readonly warn: (detail: object, message: string) => void;
}

/** A login that has ended is left to its owner for this long, in seconds of the server's time. */
const GRACE_S = 60;
/** A rights role that has had no member for this long goes, in milliseconds. */
const UNUSED_MS = 3_600_000;

const LOGINS = `SELECT r.rolname, shobj_description(r.oid, 'pg_authid'), r.rolvaliduntil < clock_timestamp() - interval '${GRACE_S} seconds',
    EXISTS (SELECT FROM pg_stat_activity a WHERE a.usesysid = r.oid),
    (SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid
      ORDER BY g.rolname LIKE ${quoteText(`${RIGHTS_PREFIX.replaceAll('_', '\\_')}%`)}, g.rolname LIMIT 1)
  FROM pg_roles r WHERE r.rolname LIKE ${quoteText(`${LOGIN_PREFIX.replaceAll('_', '\\_')}%`)} ORDER BY r.rolname`;

/** Of this installation and this connection: only there is it known what it may own. */
const RIGHTS = `SELECT r.rolname, shobj_description(r.oid, 'pg_authid') FROM pg_roles r
  WHERE r.rolname LIKE ${quoteText(`${RIGHTS_PREFIX.replaceAll('_', '\\_')}%`)}
    AND NOT EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles l ON l.oid = m.member
      WHERE m.roleid = r.oid AND l.rolname LIKE ${quoteText(`${LOGIN_PREFIX.replaceAll('_', '\\_')}%`)})`;

/** @throws what Admin.run throws when the target cannot be asked */
export async function sweepLogins(roles: ConnectionRoles, options: SweepOptions): Promise<number> {
  let count = 0;
  for (const [login = '', comment = '', ended, connected, group = ''] of await roles.admin.run(LOGINS)) {
    const tag = parseTag(comment);
    if (tag === undefined || roles.live.has(login) || roles.undropped.has(login)) continue;
    const reason = reasonFor(tag, ended === 't', connected === 't', options);
    if (reason === undefined) continue;
    try {
      if (!(await dropLogin(roles.admin, login, group === '' ? undefined : group))) continue;
      options.dropped(login, tag, reason);
      count++;
    } catch (error) {
      if (!(error instanceof ControlError)) throw error;
      // Another proxy's admin role made it, or it owns something in another database: its own connection sweeps it.
      options.warn({ role: login, sqlstate: error.state }, 'an orphaned login could not be dropped');
    }
  }
  return count;
}

function reasonFor(
  tag: RoleTag,
  ended: boolean,
  connected: boolean,
  { installation, isAlive }: SweepOptions,
): string | undefined {
  if (tag.installation === installation && !isAlive(tag.owner)) return 'its process had died';
  // It signs in to nothing any more, and a session that goes on with it is not its end.
  return ended && !connected ? 'it had expired' : undefined;
}

/** Rights roles that were in use an hour ago, or of which nothing is known because this process is younger, stay. */
export async function sweepRights(roles: ConnectionRoles, options: SweepOptions, startedAt: number): Promise<void> {
  const { namespace, name } = roles.connection;
  const now = options.now();
  if (now - startedAt < UNUSED_MS) return;
  for (const [role = '', comment = ''] of await roles.admin.run(RIGHTS)) {
    const tag = parseRightsTag(comment);
    if (tag?.installation !== options.installation || tag.connection !== `${namespace}/${name}`) continue;
    if (now - (roles.rights.used.get(role) ?? 0) < UNUSED_MS) continue;
    roles.rights.forget(role);
    const { superuser, version, role: admin } = await roles.admin.facts();
    const join = superuser
      ? []
      : [`GRANT ${quoteName(role)} TO ${quoteName(admin)}${version >= 160_000 ? ' WITH INHERIT TRUE, SET TRUE' : ''}`];
    const steps = [`REASSIGN OWNED BY ${quoteName(role)} TO ${quoteName(admin)}`, `DROP OWNED BY ${quoteName(role)}`];
    try {
      await roles.admin.run([...join, ...steps, `DROP ROLE ${quoteName(role)}`].join('; '));
    } catch (error) {
      if (!(error instanceof ControlError)) throw error;
      options.warn({ role, sqlstate: error.state }, 'a role whose rights nobody uses could not be dropped');
    }
  }
}
