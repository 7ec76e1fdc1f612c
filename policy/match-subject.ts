import type { Subject } from './subject.ts';

/** One entry of `subjects` or `exceptSubjects`; the CRD makes sure that exactly one member is set. */
export interface SubjectEntry {
  readonly everyone?: boolean;
  readonly serviceAccount?: { readonly namespace?: string; readonly name: string };
  readonly group?: string;
  readonly user?: string;
  readonly token?: { readonly issuer: string; readonly claims: Readonly<Record<string, string>> };
}

/**
 * True when the entry is about the subject. `namespace` is that of the object the entry stands in: the default of
 * `serviceAccount.namespace`. An entry without any member matches nobody.
 */
export function matchesSubject(entry: SubjectEntry, subject: Subject, namespace: string): boolean {
  if (entry.everyone === true) return true;
  if (entry.serviceAccount !== undefined) {
    const account = subject.serviceAccount;
    return (
      account !== undefined &&
      account.namespace === (entry.serviceAccount.namespace ?? namespace) &&
      (entry.serviceAccount.name === '*' || entry.serviceAccount.name === account.name)
    );
  }
  if (entry.group !== undefined) return subject.groups.includes(entry.group);
  if (entry.user !== undefined) return subject.username === entry.user;
  if (entry.token !== undefined) {
    const wanted = Object.entries(entry.token.claims);
    // No claims at all would be every token of that issuer: the schema refuses it, and so does this.
    return (
      subject.issuer === entry.token.issuer &&
      wanted.length > 0 &&
      wanted.every(([name, value]) => Object.hasOwn(subject.claims, name) && claimIs(subject.claims[name], value))
    );
  }
  return false;
}

/** Exactly the string, or a list with exactly that string; numbers and booleans as JSON writes them (`"true"`, `"42"`). */
function claimIs(claim: unknown, value: string): boolean {
  if (Array.isArray(claim)) return claim.some((member) => !Array.isArray(member) && claimIs(member, value));
  switch (typeof claim) {
    case 'string':
      return claim === value;
    case 'number':
      return Number.isSafeInteger(claim) && String(claim) === value;
    case 'boolean':
      return String(claim) === value;
    default:
      return false;
  }
}

export function matchesAnySubject(
  entries: readonly SubjectEntry[] | undefined,
  subject: Subject,
  namespace: string,
): boolean {
  return entries?.some((entry) => matchesSubject(entry, subject, namespace)) === true;
}
