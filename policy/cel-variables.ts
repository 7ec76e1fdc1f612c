import { type CelInput, type CelMap, celMap } from '@bufbuild/cel';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { CompiledConnection, DecideContext } from './bundle.ts';
import { CEL_CAPS } from './cel-check.ts';
import type { Command, HttpFacts, KubernetesFacts, SqlStatementFacts, SshFacts } from './command.ts';
import type { Subject } from './subject.ts';

/** The variables of one evaluation. */
export interface CelVariables {
  readonly bindings: Readonly<Record<string, CelInput>>;
  /** Paths whose value is too large to be looked at: a condition that reads one fails. */
  readonly oversized: readonly string[];
}

/** Longest string, in UTF-16 units: a condition must not cost more than parsing the command did. */
export const MAX_STRING = 65_536;
const MAX_CLAIM_DEPTH = 8;
/** Of a JSON body. */
const MAX_BODY_DEPTH = 32;

type Members = readonly (readonly [string, CelInput | undefined])[];

/** Members without a value are left out, so that `has()` says so and reading one is an error. */
function struct(members: Members): CelMap {
  const map = new Map<string, CelInput>();
  for (const [name, value] of members) if (value !== undefined) map.set(name, value);
  return celMap(map);
}

/** JSON as CEL values: whole numbers become int. Undefined when it is too large, or deeper than `depth`. */
function fromJson(value: unknown, depth: number): CelInput | undefined {
  if (depth < 0) return undefined;
  switch (typeof value) {
    case 'string':
      return value.length > MAX_STRING ? undefined : value;
    case 'number':
      return Number.isSafeInteger(value) ? BigInt(value) : value;
    case 'boolean':
      return value;
    case 'object': {
      if (value === null) return null;
      if (Array.isArray(value)) {
        if (value.length > CEL_CAPS.listElements) return undefined;
        const list: CelInput[] = [];
        for (const element of value) {
          const converted = fromJson(element, depth - 1);
          if (converted === undefined) return undefined;
          list.push(converted);
        }
        return list;
      }
      const members = Object.entries(value).filter(([, member]) => member !== undefined);
      if (members.length > CEL_CAPS.listElements) return undefined;
      const map = new Map<string, CelInput>();
      for (const [name, member] of members) {
        const converted = fromJson(member, depth - 1);
        if (converted === undefined) return undefined;
        map.set(name, converted);
      }
      return celMap(map);
    }
    default:
      return undefined;
  }
}

/** `subject` and `connection`, which stay the same for a whole scope. */
export interface ScopeVariables {
  readonly subject: CelInput;
  readonly connection: CelInput;
  readonly oversized: readonly string[];
}

export function scopeVariables(subject: Subject, connection: CompiledConnection): ScopeVariables {
  const oversized: string[] = [];
  const groups = subject.groups.length > CEL_CAPS.listElements ? undefined : [...subject.groups];
  if (groups === undefined) oversized.push('subject.groups');
  const claims = fromJson(subject.claims, MAX_CLAIM_DEPTH);
  if (claims === undefined) oversized.push('subject.claims');
  const account = subject.serviceAccount;
  return {
    oversized,
    subject: struct([
      ['username', subject.username],
      [
        'serviceAccount',
        account &&
          struct([
            ['namespace', account.namespace],
            ['name', account.name],
          ]),
      ],
      ['issuer', subject.issuer],
      ['groups', groups],
      ['claims', claims],
      ['onBehalfOf', subject.onBehalfOf],
    ]),
    connection: struct([
      ['namespace', connection.namespace],
      ['name', connection.name],
      ['labels', celMap(new Map(Object.entries(connection.labels)))],
      ['protocol', connection.protocol],
      ['host', connection.target.host],
      ['port', BigInt(connection.target.port)],
      ['database', connection.target.database],
    ]),
  };
}

function sqlFacts(facts: SqlStatementFacts | undefined, oversized: string[]): CelInput | undefined {
  if (facts === undefined) return undefined;
  if (facts.relations.length > CEL_CAPS.listElements) oversized.push('command.sql.relations');
  if (facts.functions.length > CEL_CAPS.listElements) oversized.push('command.sql.functions');
  return struct([
    ['kind', facts.kind],
    ['hasWhere', facts.hasWhere],
    ['hasLimit', facts.hasLimit],
    ['hasLiterals', facts.hasLiterals],
    ['relations', [...facts.relations]],
    ['functions', [...facts.functions]],
  ]);
}

function sshFacts(facts: SshFacts | undefined, oversized: string[]): CelInput | undefined {
  if (facts === undefined) return undefined;
  if (facts.argv.length > CEL_CAPS.listElements) oversized.push('command.ssh.argv');
  return struct([
    ['operation', facts.operation],
    ['loginUser', facts.loginUser],
    ['argv', [...facts.argv]],
    ['path', facts.path],
    ['destination', facts.destination],
    ['subsystem', facts.subsystem],
    ['interactive', facts.interactive],
  ]);
}

/** JSON that may be large, so that it is converted only where some condition reads it; what was not sent is left out. */
function json(path: string, value: unknown, oversized: string[], reads: ReadonlySet<string>): CelInput | undefined {
  if (value === undefined || !reads.has(path)) return undefined;
  const converted = fromJson(value, MAX_BODY_DEPTH);
  if (converted === undefined) oversized.push(path);
  return converted;
}

type Convert = (path: string, value: unknown) => CelInput | undefined;

const whole = (value: number | undefined): bigint | undefined =>
  Number.isSafeInteger(value) ? BigInt(value ?? 0) : undefined;

function kubernetesFacts(
  facts: KubernetesFacts | undefined,
  oversized: string[],
  convert: Convert,
): CelInput | undefined {
  if (facts === undefined) return undefined;
  if (facts.argv.length > CEL_CAPS.listElements) oversized.push('command.kubernetes.argv');
  return struct([
    ['verb', facts.verb],
    ['group', facts.group],
    ['version', facts.version],
    ['resource', facts.resource],
    ['subresource', facts.subresource],
    ['namespace', facts.namespace],
    ['name', facts.name],
    ['operation', facts.operation],
    ['path', facts.path],
    ['container', facts.container],
    ['argv', [...facts.argv]],
    ['stdin', facts.stdin],
    ['tty', facts.tty],
    ['dryRun', facts.dryRun],
    ['replicas', whole(facts.replicas)],
    ['previousReplicas', whole(facts.previousReplicas)],
    ['object', convert('command.kubernetes.object', facts.object)],
  ]);
}

function httpFacts(facts: HttpFacts | undefined, convert: Convert): CelInput | undefined {
  if (facts === undefined) return undefined;
  return struct([
    ['method', facts.method],
    ['host', facts.host],
    ['path', facts.path],
    ['query', convert('command.http.query', facts.query)],
    ['headers', convert('command.http.headers', facts.headers)],
    ['contentType', facts.contentType],
    ['body', convert('command.http.body', facts.body)],
  ]);
}

function mcpFacts(mcp: HttpFacts['mcp'], convert: Convert): CelInput | undefined {
  if (mcp === undefined) return undefined;
  return struct([
    ['method', mcp.method],
    ['tool', mcp.tool],
    ['arguments', convert('command.mcp.arguments', mcp.arguments)],
  ]);
}

/**
 * All variables for one part of a command. A command of another protocol has no `command.sql`, `command.ssh` and so on.
 * @param reads paths that conditions in force look at
 */
export function commandVariables(
  scope: ScopeVariables,
  command: Command,
  statement: number,
  { now, session }: DecideContext,
  reads: ReadonlySet<string>,
): CelVariables {
  const oversized = [...scope.oversized];
  const textTooLong = command.text.length > MAX_STRING;
  if (textTooLong) oversized.push('command.text');
  const sql = command.protocol === 'Postgres' ? sqlFacts(command.statements[statement], oversized) : undefined;
  const ssh = command.protocol === 'SSH' ? sshFacts(command.statements[statement], oversized) : undefined;
  const convert: Convert = (path, value) => json(path, value, oversized, reads);
  const kubernetes =
    command.protocol === 'Kubernetes' ? kubernetesFacts(command.statements[statement], oversized, convert) : undefined;
  const web = command.protocol === 'HTTP' ? command.statements[statement] : undefined;
  return {
    oversized,
    bindings: {
      subject: scope.subject,
      connection: scope.connection,
      command: struct([
        ['protocol', command.protocol],
        ['text', textTooLong ? undefined : command.text],
        ['sql', sql],
        ['ssh', ssh],
        ['kubernetes', kubernetes],
        ['http', httpFacts(web, convert)],
        ['mcp', mcpFacts(web?.mcp, convert)],
      ]),
      session: struct([
        ['id', session.id],
        ['startedAt', timestampFromDate(session.startedAt)],
        ['clientAddress', session.clientAddress],
        ['applicationName', session.applicationName],
        ['commands', BigInt(session.commands)],
      ]),
      now: timestampFromDate(now),
    },
  };
}
