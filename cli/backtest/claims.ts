import type { Loaded } from '../../api/load.ts';
import type { CompiledConnection } from '../../policy/bundle.ts';
import { compileCondition } from '../../policy/cel.ts';
import { matchesAnySubject, type SubjectEntry } from '../../policy/match-subject.ts';
import { selectsConnection } from '../../policy/select-connection.ts';
import type { Subject } from '../../policy/subject.ts';

/**
 * The record names a subject with its groups, and none of its token's claims. Which objects would look at claims of this subject on
 * this connection, so that what they decide cannot be known: `AccessPolicy NAMESPACE/NAME`, sorted.
 */
export function claimReaders(
  { resources }: Loaded,
  guardrailNamespace: string,
  subject: Subject,
  connection: CompiledConnection,
): readonly string[] {
  const found: string[] = [];
  const asks = (entry: SubjectEntry): boolean => entry.token !== undefined && entry.token.issuer === subject.issuer;
  for (const { metadata, spec } of resources.policies) {
    const { namespace, name } = metadata;
    if (!selectsConnection(spec.connections, namespace, connection, guardrailNamespace)) continue;
    const named = matchesAnySubject(spec.subjects, subject, namespace);
    const mayBe = !named && spec.subjects.some(asks);
    const mayBeExcepted = (named || mayBe) && (spec.exceptSubjects ?? []).some(asks);
    const conditions = (named || mayBe) && spec.rules.some(({ when }) => when !== undefined && readsClaims(when));
    if (mayBe || mayBeExcepted || conditions) found.push(`AccessPolicy ${namespace}/${name}`);
  }
  for (const { metadata, spec } of resources.maskingRules) {
    const { namespace, name } = metadata;
    if (!selectsConnection(spec.connections, namespace, connection, guardrailNamespace)) continue;
    if ((spec.exceptSubjects ?? []).some(asks)) found.push(`MaskingRule ${namespace}/${name}`);
  }
  return found.sort();
}

function readsClaims(when: string): boolean {
  return [...compileCondition(when).paths].some((path) => path === 'subject' || path.startsWith('subject.claims'));
}
