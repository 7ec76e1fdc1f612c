import type { StatementKind } from '../../../../policy/command.ts';
import type { Rights } from '../../../../policy/rights.ts';
import { quoteName, quoteText } from './names.ts';

/**
 * From rights to GRANT and REVOKE: pure. A role may hold exactly what policy may ever allow (manual, section "Privileges"), so that
 * the server refuses what is beyond that, whatever got past us.
 */

/** What can be granted on, as it is in the server now. */
export interface Grantable {
  readonly type: 'TABLE' | 'SEQUENCE' | 'SCHEMA' | 'ROUTINE' | 'DATABASE';
  /** As GRANT takes it: quoted, qualified; of a routine with its argument types. */
  readonly target: string;
  readonly schema: string;
  readonly name: string;
  /** `SCHEMA.TABLE` whose column draws from this sequence. */
  readonly ownedBy?: { readonly schema: string; readonly name: string };
  /** The admin role may use its schema: without that nothing can be granted on it or taken. */
  readonly reachable: boolean;
  /** The admin role has what its owner has. */
  readonly managed: boolean;
  /** Privileges that the admin role may pass on without that. */
  readonly passable: ReadonlySet<string>;
  /** The role with the rights owns it: nothing is granted then, and nothing taken. */
  readonly own: boolean;
  readonly held: ReadonlySet<string>;
  /** Everybody has these. */
  readonly open: ReadonlySet<string>;
}

export interface GrantPlan {
  /** Each a statement of its own. Those that take come first. */
  readonly revokes: readonly string[];
  readonly grants: readonly string[];
  /** `SELECT on public.orders`: wanted, and not the admin role's to give. */
  readonly refused: readonly string[];
  /** `SELECT on public.orders`: held and too much, where the admin role cannot take it and the role can use it. */
  readonly stuck: readonly string[];
}

const PRIVILEGES: Partial<Record<StatementKind, readonly string[]>> = {
  Select: ['SELECT'],
  CopyTo: ['SELECT'],
  Insert: ['INSERT'],
  CopyFrom: ['INSERT'],
  Update: ['UPDATE'],
  Delete: ['DELETE'],
  Merge: ['INSERT', 'UPDATE', 'DELETE'],
  Truncate: ['TRUNCATE'],
  CreateTrigger: ['TRIGGER'],
};
/** Since PostgreSQL 17 one privilege is for these; before, only owners do them. */
const MAINTENANCE: ReadonlySet<StatementKind> = new Set(['Vacuum', 'Analyze', 'Reindex', 'RefreshView']);
const SINCE_MAINTAIN = 170_000;
/** What makes something in a schema. */
const CREATES: readonly StatementKind[] = [
  'CreateTable',
  'CreateView',
  'CreateIndex',
  'CreateFunction',
  'CreateSequence',
  'CreateType',
  'CreateOther',
];

const WRITES: ReadonlySet<string> = new Set(['INSERT', 'UPDATE']);

function wantedOn(item: Grantable, rights: Rights, version: number): ReadonlySet<string> {
  const wanted = new Set<string>();
  for (const kind of rights.on(item.schema, item.name)) {
    for (const privilege of PRIVILEGES[kind] ?? []) wanted.add(privilege);
    if (MAINTENANCE.has(kind) && version >= SINCE_MAINTAIN) wanted.add('MAINTAIN');
  }
  return wanted;
}

/** A sequence is drawn from by writing: to the table it belongs to, or by the rule that names it. */
function wantedOnSequence(item: Grantable, rights: Rights): ReadonlySet<string> {
  const own = new Set(wantedOn(item, rights, 0));
  const table = item.ownedBy;
  const kinds = table === undefined ? [] : [...rights.on(table.schema, table.name)];
  const writes = [...own, ...kinds.flatMap((kind) => PRIVILEGES[kind] ?? [])].some((privilege) =>
    WRITES.has(privilege),
  );
  return new Set([...(own.has('SELECT') ? ['SELECT'] : []), ...(writes ? ['USAGE'] : [])]);
}

function wantedFor(item: Grantable, rights: Rights, version: number, used: ReadonlySet<string>): ReadonlySet<string> {
  switch (item.type) {
    case 'TABLE':
      return wantedOn(item, rights, version);
    case 'SEQUENCE':
      return wantedOnSequence(item, rights);
    case 'ROUTINE':
      return new Set(rights.calls(item.schema, item.name) ? ['EXECUTE'] : []);
    case 'SCHEMA': {
      // The server knows no right to make an object of one name: who may make any in the schema may make all.
      const within = rights.within(item.name);
      const creates = CREATES.some((kind) => within.has(kind));
      return new Set([...(used.has(item.name) || creates ? ['USAGE'] : []), ...(creates ? ['CREATE'] : [])]);
    }
    case 'DATABASE':
      return new Set(['CONNECT', ...(rights.kinds.has('CreateSchema') ? ['CREATE'] : [])]);
    default:
      return item.type satisfies never;
  }
}

/** GRANT takes a list; one statement of unbounded length is one that no log shows. */
const LISTED = 200;

function statements(type: Grantable['type'], byPrivileges: Map<string, string[]>, verb: (list: string) => string[]) {
  return [...byPrivileges].flatMap(([privileges, targets]) => {
    const made: string[] = [];
    for (let at = 0; at < targets.length; at += LISTED) {
      const [before = '', after = ''] = verb(privileges);
      made.push(`${before} ON ${type} ${targets.slice(at, at + LISTED).join(', ')} ${after}`);
    }
    return made;
  });
}

/** What to grant to `role`, and to take from it, so that it holds what `rights` say of these objects. */
export function planGrants(role: string, rights: Rights, version: number, items: readonly Grantable[]): GrantPlan {
  const used = new Set<string>();
  const plan = { revokes: [] as string[], grants: [] as string[], refused: [] as string[], stuck: [] as string[] };
  const usable = new Set(
    items.filter(({ type, own, held }) => type === 'SCHEMA' && (own || held.has('USAGE'))).map(({ name }) => name),
  );
  // Schemas last: which of them are used is known by then.
  const order = ['TABLE', 'SEQUENCE', 'ROUTINE', 'SCHEMA', 'DATABASE'] as const;
  for (const type of order) {
    const grants = new Map<string, string[]>();
    const revokes = new Map<string, string[]>();
    for (const item of items) {
      if (item.type !== type) continue;
      const wanted = wantedFor(item, rights, version, used);
      if (wanted.size > 0 || item.own) used.add(item.schema);
      if (item.own) continue;
      const missing = [...wanted].filter((each) => !item.held.has(each) && !item.open.has(each));
      const given = missing.filter((each) => item.reachable && (item.managed || item.passable.has(each)));
      for (const each of missing) if (!given.includes(each)) plan.refused.push(`${each} on ${describe(item)}`);
      const surplus = [...item.held].filter((each) => !wanted.has(each));
      if (given.length > 0) add(grants, given, item.target);
      if (surplus.length > 0 && item.reachable) add(revokes, surplus, item.target);
      // In a schema that it cannot use either, a right is none.
      else if (usable.has(item.schema)) for (const each of surplus) plan.stuck.push(`${each} on ${describe(item)}`);
    }
    const name = quoteName(role);
    plan.grants.push(...statements(type, grants, (list) => [`GRANT ${list}`, `TO ${name}`]));
    plan.revokes.push(...statements(type, revokes, (list) => [`REVOKE ${list}`, `FROM ${name}`]));
  }
  return plan;
}

const describe = ({ type, schema, name }: Grantable): string =>
  type === 'SCHEMA' || type === 'DATABASE' ? name : `${schema}.${name}`;

function add(map: Map<string, string[]>, privileges: readonly string[], target: string): void {
  const key = [...privileges].sort().join(', ');
  const list = map.get(key);
  if (list === undefined) map.set(key, [target]);
  else list.push(target);
}

/**
 * One query for all that can be granted on, with what the role holds. System schemas are left out: what PUBLIC may read there is
 * PostgreSQL's own choice, and nobody but a superuser can grant more.
 */
export function readGrantable(role: string): string {
  const oid = `(SELECT oid FROM pg_roles WHERE rolname = ${quoteText(role)})`;
  const acl = (column: string, fallback: string, owner: string, reachable = 'true'): string => {
    const all = `aclexplode(COALESCE(${column}, acldefault(${fallback}, ${owner})))`;
    return `COALESCE(pg_has_role(${owner}, 'USAGE'), false), ${owner} = ${oid},
      (SELECT string_agg(x.privilege_type, ',') FROM ${all} x WHERE x.grantee = ${oid}),
      (SELECT string_agg(x.privilege_type, ',') FROM ${all} x WHERE x.grantee = 0),
      (SELECT string_agg(x.privilege_type, ',') FROM ${all} x
        WHERE CASE WHEN x.is_grantable AND x.grantee <> 0 THEN pg_has_role(x.grantee, 'USAGE') ELSE false END),
      ${reachable}`;
  };
  const usage = `has_schema_privilege(n.oid, 'USAGE')`;
  const ours = `n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'`;
  return `SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, n.nspname, c.relname, '', tn.nspname, t.relname,
      ${acl('c.relacl', `CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END`, 'c.relowner', usage)}
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_depend d ON c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid
        AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
      LEFT JOIN pg_class t ON t.oid = d.refobjid LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND ${ours};
  SELECT 'ROUTINE', n.nspname, p.proname, p.oid::regprocedure, '', '', ${acl('p.proacl', `'f'`, 'p.proowner', usage)}
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE ${ours};
  SELECT 'SCHEMA', n.nspname, n.nspname, '', '', '', ${acl('n.nspacl', `'n'`, 'n.nspowner')}
    FROM pg_namespace n WHERE ${ours};
  SELECT 'DATABASE', '', n.datname, '', '', '', ${acl('n.datacl', `'d'`, 'n.datdba')}
    FROM pg_database n WHERE n.datname = current_database()`;
}

const TYPES = {
  TABLE: 'TABLE',
  SEQUENCE: 'SEQUENCE',
  SCHEMA: 'SCHEMA',
  ROUTINE: 'ROUTINE',
  DATABASE: 'DATABASE',
} as const;

/** The rows of `readGrantable`. */
export function grantableOf(rows: readonly (readonly string[])[]): Grantable[] {
  return rows.flatMap((row): Grantable[] => {
    const [kind = '', schema = '', name = '', signature = '', ownerSchema = '', ownerName = '', ...acl] = row;
    const type = TYPES[kind as keyof typeof TYPES];
    if (type === undefined) return [];
    const [managed, own, held = '', open = '', passable = '', reachable] = acl;
    const list = (text: string): ReadonlySet<string> => new Set(text === '' ? [] : text.split(','));
    const single = type === 'SCHEMA' || type === 'DATABASE';
    return [
      {
        type,
        schema,
        name,
        target: type === 'ROUTINE' ? signature : single ? quoteName(name) : `${quoteName(schema)}.${quoteName(name)}`,
        ...(ownerName === '' ? {} : { ownedBy: { schema: ownerSchema, name: ownerName } }),
        reachable: reachable === 't',
        managed: managed === 't',
        own: own === 't',
        held: list(held),
        open: list(open),
        passable: list(passable),
      },
    ];
  });
}
