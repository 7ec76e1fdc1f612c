import { InvalidArgumentError } from 'commander';
import type { Subject } from '../../policy/subject.ts';
import { developmentSubject } from '../../proxy/identity/development.ts';

/** Who a command is decided for: `--as`, `--group` and `--claim`, or the members of a test case. */
export interface SubjectOptions {
  readonly as: string;
  readonly group: readonly string[];
  readonly claim: ReadonlyMap<string, string | readonly string[]>;
}

/** @throws IdentityError SPI019 or SPI021 when a name is neither a service account nor ALIAS:NAME */
export function subjectOf({ as, group, claim }: SubjectOptions): Subject {
  return developmentSubject(as, group, Object.fromEntries(claim));
}

export function addGroup(group: string, earlier: readonly string[]): readonly string[] {
  return [...earlier, group];
}

/** `NAME=VALUE`; the same name twice makes a list. */
export function addClaim(text: string, earlier: SubjectOptions['claim']): SubjectOptions['claim'] {
  const equals = text.indexOf('=');
  if (equals <= 0) throw new InvalidArgumentError('Write a claim as NAME=VALUE.');
  const name = text.slice(0, equals);
  const value = text.slice(equals + 1);
  const known = earlier.get(name);
  return new Map([...earlier, [name, known === undefined ? value : [known, value].flat()]]);
}

export function parseTime(text: string): Date {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) throw new InvalidArgumentError('Write a time such as 2026-03-04T18:30:00Z.');
  return time;
}
