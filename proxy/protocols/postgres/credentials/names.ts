import { createHash, randomBytes } from 'node:crypto';
import { parseOwner, type SegmentOwner } from '../../../../record/owner.ts';

/** Names of the roles that are made here, and the tags by which they are known again. */

/** Logins: `sallyport_login_` and 96 random bits. */
export const LOGIN_PREFIX = 'sallyport_login_';
/** Roles that hold rights and cannot sign in: `sallyport_rights_` and a digest of what they hold, and where. */
export const RIGHTS_PREFIX = 'sallyport_rights_';

export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** For standard_conforming_strings, which every connection here pins. */
export const quoteText = (text: string): string => `'${text.replaceAll("'", "''")}'`;

export const loginName = (): string => LOGIN_PREFIX + randomBytes(12).toString('hex');

/** One role for each set of rights on one database of one installation. */
export function rightsName(installation: string, connection: string, database: string, key: string): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([installation, connection, database, key]))
    .digest('hex');
  return RIGHTS_PREFIX + digest.slice(0, 24);
}

/** Whose a role is: COMMENT ON ROLE. Everybody who may sign in to the server can read it, so it names nobody. */
export interface RoleTag {
  /** Random, one per state folder or cluster installation. */
  readonly installation: string;
  /** `NAMESPACE/NAME`. */
  readonly connection: string;
  readonly owner: SegmentOwner;
  readonly session: string;
  /** RFC 3339, in the server's time. */
  readonly expires: string;
}

const TAG = 'sallyport ';

export const tagText = (tag: RoleTag): string => TAG + JSON.stringify(tag);

/** The comment of a rights role. */
export const rightsTag = (installation: string, connection: string): string =>
  TAG + JSON.stringify({ installation, connection });

/** Undefined for a comment that no tag of ours is. */
export function parseTag(comment: string): RoleTag | undefined {
  const value = parsed(comment);
  if (value === undefined) return undefined;
  const { installation, connection, session, expires } = value;
  const owner = parseOwner(value['owner']);
  if (typeof installation !== 'string' || typeof connection !== 'string' || typeof session !== 'string')
    return undefined;
  if (typeof expires !== 'string' || Number.isNaN(Date.parse(expires)) || owner === undefined) return undefined;
  return { installation, connection, session, expires, owner };
}

/** The installation that a rights role belongs to, and the connection. */
export function parseRightsTag(comment: string): Pick<RoleTag, 'installation' | 'connection'> | undefined {
  const { installation, connection } = parsed(comment) ?? {};
  return typeof installation === 'string' && typeof connection === 'string' ? { installation, connection } : undefined;
}

function parsed(comment: string): Readonly<Record<string, unknown>> | undefined {
  if (!comment.startsWith(TAG)) return undefined;
  try {
    const value: unknown = JSON.parse(comment.slice(TAG.length));
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    // Somebody wrote a comment of their own: the role is not one of ours any more.
    return undefined;
  }
}
