import type { SessionSummary } from '../../record/sessions.ts';

/** What is said of a session as a whole, in the order in which it is read; what is not known is left out. Not yet escaped for any medium. */
export function sessionFacts(session: SessionSummary): (readonly [name: string, value: string])[] {
  const facts: (readonly [string, string | undefined])[] = [
    ['Who', session.who],
    ['On behalf of', session.onBehalfOf],
    ['Connection', session.connection],
    ['Protocol', session.protocol],
    ['Database', session.database],
    ['Login user', session.user],
    ['Client', session.client],
    ['Application', session.application],
    ['Start', session.start],
    ['End', session.end],
    ['State', session.reason === undefined ? session.state : `${session.state} (${session.reason})`],
    ['Commands', `${session.commands}, ${session.denied} denied, ${session.failed} failed`],
  ];
  return facts.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
}
