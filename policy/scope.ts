import type { CompiledConnection, DecideContext, PermissionRow, PolicyScope } from './bundle.ts';
import { scopeVariables } from './cel-variables.ts';
import { type Command, type McpTuple, SSH_OPERATIONS, type SshOperation } from './command.ts';
import { decide } from './decide.ts';
import type { Decision } from './decision.ts';
import { coversHttp, hitsHttp } from './http/match.ts';
import type { Candidates } from './judge-tuple.ts';
import { READ_ONLY_KINDS } from './kinds.ts';
import { type CompiledMask, planMasks } from './mask-plan.ts';
import { permissionRows } from './permissions.ts';
import { type Rights, rightsOf } from './rights.ts';
import { type CompiledRule, ruleName } from './rule.ts';
import { aboutUser } from './ssh/match.ts';
import type { Subject } from './subject.ts';

/** What `compile.ts` selected for one subject on one connection. */
export interface ScopeParts {
  readonly subject: Subject;
  readonly connection: CompiledConnection;
  readonly allow: readonly CompiledRule[];
  readonly deny: readonly CompiledRule[];
  readonly requireApproval: readonly CompiledRule[];
  readonly masks: readonly CompiledMask[];
  /** Some policy of the connection's own namespace is about the subject: what Observe asks for. */
  readonly named: boolean;
}

export function createScope(parts: ScopeParts): PolicyScope {
  const { subject, connection, allow, deny, requireApproval } = parts;
  const masks = planMasks(parts.masks);
  const revocation = deny.find(revokes);
  const mayConnect = revocation === undefined && (connection.mode === 'Observe' ? parts.named : allow.length > 0);
  const candidates: Candidates = {
    allow,
    deny,
    requireApproval,
    reads: readsOf([...allow, ...deny, ...requireApproval]),
    maskingRules: masks.empty ? [] : parts.masks.filter(concerns(connection.protocol)).map((mask) => mask.rule),
    ...(masks.hasFiles ? { protects: masks.file } : {}),
  };
  const variables = scopeVariables(subject, connection);
  const scope = { connection, candidates, variables, mayConnect };
  let rows: readonly PermissionRow[] | undefined;
  let rights: Rights | undefined;
  return {
    mayConnect,
    ...(revocation === undefined
      ? {}
      : {
          revoked: {
            rule: ruleName(revocation.ref),
            ...(revocation.message === undefined ? {} : { message: revocation.message }),
          },
        }),
    nameSensitive: nameSensitive(candidates, masks.empty),
    relationSensitive: relationSensitive(candidates, masks.empty),
    readOnly: connection.mode === 'Enforce' && allow.every(onlyReads),
    masks,
    perCommand: connection.credential.postgresRole?.scope === 'Statement',
    get rights() {
      rights ??= rightsOf(candidates);
      return rights;
    },
    needs: {
      body: candidates.reads.has('command.http.body'),
      headers: candidates.reads.has('command.http.headers') || candidates.reads.has('command.http.contentType'),
      object: candidates.reads.has('command.kubernetes.object'),
    },
    offersTool: (path, tool) => offersTool(candidates, path, tool),
    operations: (loginUser) => operationsOf(loginUser, allow, mayConnect && connection.mode === 'Observe'),
    decide: (command: Command, context: DecideContext): Decision => decide(scope, command, context),
    permissions: () => {
      rows ??= permissionRows(candidates, parts.masks);
      return rows;
    },
  };
}

/** Rules about what the protocol never shows say nothing about a command that cannot be understood. */
function concerns(protocol: CompiledConnection['protocol']): (mask: CompiledMask) => boolean {
  switch (protocol) {
    case 'SSH':
      return ({ content, files }) => content.length + files.length > 0;
    case 'Kubernetes':
      return ({ content, fields, kubernetes }) => content.length + fields.length + kubernetes.length > 0;
    case 'HTTP':
      return ({ content, fields }) => content.length + fields.length > 0;
    case 'Postgres':
      return ({ columns, content, fields }) => columns.length + content.length + fields.length > 0;
  }
}

function readsOf(rules: readonly CompiledRule[]): ReadonlySet<string> {
  return new Set(rules.flatMap(({ when }) => [...(when?.paths ?? [])]));
}

/** By lists alone, since conditions look at the arguments. */
function offersTool({ allow, deny }: Candidates, path: string, tool: string): boolean {
  const tuple: McpTuple = { type: 'mcp', httpMethod: 'POST', host: '', path, method: 'tools/call', tool, statement: 0 };
  const always = deny.filter(({ when }) => when === undefined || when.error !== undefined);
  const takes = (rule: CompiledRule): boolean =>
    rule.protocol === undefined || (rule.http !== undefined && hitsHttp(rule.http, tuple));
  return (
    allow.some(({ http, when }) => when?.error === undefined && http !== undefined && coversHttp(http, tuple)) &&
    !always.some(takes)
  );
}

function operationsOf(loginUser: string, allow: readonly CompiledRule[], all: boolean): ReadonlySet<SshOperation> {
  if (all) return new Set(SSH_OPERATIONS);
  return new Set(
    allow.flatMap(({ ssh }) => (ssh !== undefined && aboutUser(ssh, loginUser) ? [...(ssh.operations ?? [])] : [])),
  );
}

/** Hits every command there is, whatever it is and whenever: nothing is left that a session could be for. */
function revokes(rule: CompiledRule): boolean {
  return rule.protocol === undefined && (rule.when === undefined || rule.when.error !== undefined);
}

function nameSensitive({ allow, deny, requireApproval }: Candidates, unmasked: boolean): boolean {
  const indifferent = (rule: CompiledRule): boolean =>
    rule.sql?.relations?.any === true && rule.sql.functions?.any === true && !dependsOnNames(rule);
  return !(unmasked && deny.length === 0 && requireApproval.length === 0 && allow.every(indifferent));
}

function relationSensitive({ allow, deny, requireApproval }: Candidates, unmasked: boolean): boolean {
  const rules = [...allow, ...deny, ...requireApproval];
  return !(unmasked && rules.every((rule) => rule.sql?.relations?.any === true && !dependsOnNames(rule)));
}

function dependsOnNames(rule: CompiledRule): boolean {
  return [...(rule.when?.paths ?? [])].some((path) => path.startsWith('command.sql.'));
}

/** A function that is granted by name may write, so such a rule counts as more than reading. */
function onlyReads({ sql }: CompiledRule): boolean {
  return (
    sql?.kinds !== undefined && sql.functions === undefined && [...sql.kinds].every((kind) => READ_ONLY_KINDS.has(kind))
  );
}
