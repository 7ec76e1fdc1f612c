import type { ApproverConfiguration } from '../../api/configuration.ts';
import type { Finding, Loaded } from '../../api/load.ts';
import type { AccessPolicy } from '../../api/resources.ts';
import { isApprover } from '../../approval/tally.ts';
import type { Bundle } from '../../policy/bundle.ts';
import { selectsConnection } from '../../policy/select-connection.ts';
import { signersOf } from '../../proxy/approval/configured-approvers.ts';
import { cliMessage } from '../errors.ts';

interface Context {
  readonly loaded: Loaded;
  readonly bundle: Bundle;
  readonly guardrailNamespace: string;
  readonly approvers: readonly ApproverConfiguration[];
}

type Rule = AccessPolicy['spec']['rules'][number];

/**
 * Finds rules that want more people than the configuration has for them: what they hold is refused at once (SPV001, SPV002), which
 * somebody should hear before an agent does. Only connections that are served are looked at, so only those for PostgreSQL.
 */
export function checkApprovers({ loaded, bundle, guardrailNamespace, approvers }: Context): Finding[] {
  const { voters } = signersOf(approvers);
  const findings: Finding[] = [];
  for (const { metadata, spec } of loaded.resources.policies) {
    const { namespace, name } = metadata;
    const about = bundle.connections.filter(
      (connection) =>
        connection.protocol === 'Postgres' &&
        selectsConnection(spec.connections, namespace, connection, guardrailNamespace),
    );
    for (const [index, rule] of spec.rules.entries()) {
      const wanted = peopleWanted(rule);
      if (wanted === 0) continue;
      for (const connection of about) {
        const able = (voters?.(connection) ?? []).filter((voter) => isApprover(rule.approval ?? {}, voter)).length;
        if (able >= wanted) continue;
        const place = loaded.places.get(`AccessPolicy/${namespace}/${name}`)?.(['spec', 'rules', index]) ?? NOWHERE;
        const label = `${connection.namespace}/${connection.name}`;
        const parts = [rule.name, people(wanted), able === 0 ? 'nobody' : `only ${people(able)}`, label];
        findings.push({ severity: 'warning', ...place, code: 'SPC043', ...cliMessage('SPC043', parts) });
      }
    }
  }
  return findings;
}

const NOWHERE = { file: '', line: 1, column: 1 } as const;
const people = (count: number): string => (count === 1 ? '1 person' : `${count} people`);

/** How many have to agree before a rule lets a command run; 0: it does not ask. */
function peopleWanted({ effect, sql, ssh, kubernetes, http, approval }: Rule): number {
  const otherProtocol = sql === undefined && (ssh ?? kubernetes ?? http) !== undefined;
  if (otherProtocol || effect === 'Deny' || (effect === 'Allow' && approval === undefined)) return 0;
  return approval?.requiredApprovals ?? 1;
}
