import { textFilter } from './command-filter.ts';
import type { SessionFilter } from './sessions.ts';

/** A filter of sessions as the query of a URL, for whoever asks an archive, and back. */

const VERDICTS = ['Allow', 'Deny', 'RequireApproval'] as const;
const MOST_CHARACTERS = 1024;
const NAMES = [
  'namespace',
  'name',
  'session',
  'who',
  'since',
  'until',
  'denied',
  'verdict',
  'rule',
  'text',
  'protocol',
] as const;

/** Members that are absent are left out. A text filter is sent as it was written. */
export function sessionQuery(filter: SessionFilter): URLSearchParams {
  const { namespace, name, session, who, since, until, denied, verdict, rule, text, protocol } = filter;
  const values: Readonly<Record<(typeof NAMES)[number], string | undefined>> = {
    ...{ namespace, name, session, who, verdict, rule, protocol },
    since: since?.toISOString(),
    until: until?.toISOString(),
    denied: denied === true ? 'true' : undefined,
    text: text?.written,
  };
  const query = new URLSearchParams();
  for (const each of NAMES) {
    const value = values[each];
    if (value !== undefined) query.set(each, value);
  }
  return query;
}

/** @returns what is wrong with it, in words, when it cannot be used: what is not understood is not passed over */
export function parseSessionQuery(query: URLSearchParams): SessionFilter | string {
  for (const [name, value] of query) {
    if (!NAMES.some((each) => each === name)) return `there is no parameter ${JSON.stringify(name.slice(0, 64))}`;
    if (query.getAll(name).length > 1) return `the parameter ${name} is there twice`;
    if (value.length > MOST_CHARACTERS) return `the parameter ${name} is longer than ${MOST_CHARACTERS} characters`;
  }
  const read = (name: (typeof NAMES)[number]): string | undefined => query.get(name) ?? undefined;
  const [since, until] = [moment(read('since')), moment(read('until'))];
  if (since === null || until === null) return 'a time is none: write it as 2026-03-01T10:00:00Z';
  const verdict = VERDICTS.find((each) => each === read('verdict'));
  if (verdict === undefined && query.has('verdict')) return `verdict is one of ${VERDICTS.join(', ')}`;
  const denied = read('denied');
  if (denied !== undefined && denied !== 'true' && denied !== 'false') return 'denied is true or false';
  const written = read('text');
  const text = written === undefined ? undefined : textFilter(written);
  if (typeof text === 'string') return text;
  const [namespace, name, session, who, rule, protocol] = (
    ['namespace', 'name', 'session', 'who', 'rule', 'protocol'] as const
  ).map(read);
  return {
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(session === undefined ? {} : { session }),
    ...(who === undefined ? {} : { who }),
    ...(since === undefined ? {} : { since }),
    ...(until === undefined ? {} : { until }),
    ...(denied === 'true' ? { denied: true } : {}),
    ...(verdict === undefined ? {} : { verdict }),
    ...(rule === undefined ? {} : { rule }),
    ...(protocol === undefined ? {} : { protocol }),
    ...(text === undefined ? {} : { text }),
  };
}

/** Null: it is no time. */
function moment(text: string | undefined): Date | undefined | null {
  if (text === undefined) return undefined;
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? null : date;
}
