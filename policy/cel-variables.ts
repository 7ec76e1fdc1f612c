import { type CelInput, type CelMap, celMap } from '@bufbuild/cel';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { CompiledConnection, DecideContext } from './bundle.ts';
import { CEL_CAPS } from './cel-check.ts';
import type { Command, SqlStatementFacts, SshFacts } from './command.ts';
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

type Members = readonly (readonly [string, CelInput | undefined])[];

/** Members without a value are left out, so that `has()` says so and reading one is an error. */
function struct(members: Members): CelMap {
  const map = new Map<string, CelInput>();
  for (const [name, value] of members) if (value !== undefined) map.set(name, value);
  return celMap(map);
}

/** JSON of a token as CEL values: whole numbers become int. Undefined when it is too large or too deep. */
function fromJson(value: unknown, depth: number): CelInput | undefined {
  if (depth > MAX_CLAIM_DEPTH) return undefined;
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
          const converted = fromJson(element, depth + 1);
          if (converted === undefined) return undefined;
          list.push(converted);
        }
        return list;
      }
      const members = Object.entries(value).filter(([, member]) => member !== undefined);
      if (members.length > CEL_CAPS.listElements) return undefined;
      const map = new Map<string, CelInput>();
      for (const [name, member] of members) {
        const converted = fromJson(member, depth + 1);
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
  const claims = fromJson(subject.claims, 0);
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

/** All variables for one part of a command. A command without that part has no `command.sql` or `command.ssh`. */
export function commandVariables(
  scope: ScopeVariables,
  command: Command,
  statement: number,
  { now, session }: DecideContext,
): CelVariables {
  const oversized = [...scope.oversized];
  const textTooLong = command.text.length > MAX_STRING;
  if (textTooLong) oversized.push('command.text');
  const sql = command.protocol === 'Postgres' ? sqlFacts(command.statements[statement], oversized) : undefined;
  const ssh = command.protocol === 'SSH' ? sshFacts(command.statements[statement], oversized) : undefined;
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
