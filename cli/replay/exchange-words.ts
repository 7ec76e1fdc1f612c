import type { BodyPart, ExchangeEnd, ExchangeFacts } from '../../record/replay/exchange-steps.ts';

/** Words about exchanges over HTTP. Not yet safe to show: whoever shows them escapes them. */

export function exchangeWords({ version, upgrade }: ExchangeFacts): readonly string[] {
  return [
    version === undefined ? undefined : `HTTP/${version}`,
    upgrade === undefined ? undefined : `upgrade to ${upgrade}`,
  ].filter((fact) => fact !== undefined);
}

/** What a lane says of a request in the words of its own clients, such as `kubectl delete pods web`. */
export function clientWords(details: unknown): readonly string[] {
  if (typeof details !== 'object' || details === null) return [];
  return Object.values(details).flatMap((lane: unknown) =>
    typeof lane === 'object' && lane !== null && 'words' in lane && typeof lane.words === 'string' ? [lane.words] : [],
  );
}

/** `name: value`, one for each. */
export const headerLines = (headers: Readonly<Record<string, string>>): readonly string[] =>
  Object.entries(headers).map(([name, value]) => `${name}: ${value}`);

export function exchangeEndWords({ status, requestBytes }: ExchangeEnd): readonly string[] {
  return [
    status === undefined ? undefined : `status ${status}`,
    requestBytes === undefined || requestBytes === 0 ? undefined : `${requestBytes} B sent`,
  ].filter((fact) => fact !== undefined);
}

/** Characters of one body that are shown for each row of a result that would be. */
const ROW_CHARACTERS = 1024;

/** Lines of a piece of a body. @param shown lines of it that were shown before */
export function bodyLines({ text }: BodyPart, shown: number, mostRows: number): readonly string[] {
  return text
    .slice(0, mostRows * ROW_CHARACTERS)
    .split('\n')
    .slice(0, Math.max(0, mostRows - shown));
}

/** What is not shown of a body, or not in the record. */
export function bodyNotes({ of, end, text }: BodyPart, mostRows: number): readonly string[] {
  const what = of === 'request' ? 'the request' : 'the answer';
  const lines = text.split('\n').length;
  return [
    lines > mostRows || text.length > mostRows * ROW_CHARACTERS ? `more of ${what} is in the record` : undefined,
    end?.recorded === undefined
      ? undefined
      : `${end.recorded} of ${end.bytes} bytes of ${what} are recorded, of all its length and SHA-256`,
  ].filter((note) => note !== undefined);
}
