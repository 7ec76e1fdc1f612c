import type { Catalog } from '../catalog/types.ts';
import { splitSearchPath } from '../sql/settings.ts';

/**
 * The schemas that names are looked up in, of a search_path as SHOW prints it: `"$user"` is the role's own; what does not exist, or
 * the session's login may not use, the server skips (namespace.c). Undefined when the value cannot be read with certainty.
 */
export function effectiveSearchPath(value: string, role: string, catalog: Catalog): string[] | undefined {
  const names = splitSearchPath(value)?.map((name) => (name === '$user' ? role : name));
  if (names === undefined) return undefined;
  return [...new Set(names)].filter((name) => name !== 'pg_temp' && catalog.canUseSchema(name));
}

/** No role can have this name. */
const SOME_LOGIN = 'login\0';

/**
 * The role that names are resolved for while none is set. Logins that were made for one session stand for each other, so that
 * verdicts are shared between sessions, unless one has a schema of its own name.
 */
export function roleOfLogin(login: string | undefined, catalog: Catalog): string {
  if (login === undefined) return catalog.role;
  return catalog.hasSchema(login) ? login : SOME_LOGIN;
}
