import type { Catalog } from '../catalog/types.ts';

/**
 * Elements of a search_path value as SHOW prints it: identifiers with commas between, quoted where they need it (manual, section
 * "Schemas", and SplitIdentifierString in the server's source). Unquoted ones are folded to lower case.
 */
function searchPathElements(value: string): string[] {
  const elements: string[] = [];
  const pattern = /\s*(?:"((?:[^"]|"")*)"|([^\s,"]+))\s*(?:,|$)/gy;
  for (let match = pattern.exec(value); match !== null && match[0] !== ''; match = pattern.exec(value)) {
    elements.push(match[1] !== undefined ? match[1].replaceAll('""', '"') : match[2]!.toLowerCase());
  }
  return elements;
}

/** The schemas that names are looked up in: `"$user"` is the role's own, what does not exist is left out. */
export function effectiveSearchPath(value: string, role: string, catalog: Catalog): string[] {
  const names = searchPathElements(value).map((name) => (name === '$user' ? role : name));
  return [...new Set(names)].filter((name) => name !== 'pg_temp' && catalog.hasSchema(name));
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
