import type { HeaderFields, ResponseHead } from '../port.ts';

/** Heads of answers, as a parser of HTTP/1.1 gave them: names in lower case, without what is between two neighbours. */

/** Of a connection, not of the answer (RFC 9110, section 7.6.1), or ours to say. */
const DROPPED: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  // Where else the target could be reached is none of the client's business: it would go past us.
  'alt-svc',
]);
/** What a trailer never changes (RFC 9110, section 6.5.1): framing, routing, authentication, control. */
const NO_TRAILERS: ReadonlySet<string> = new Set([
  ...DROPPED,
  'content-length',
  'content-type',
  'content-encoding',
  'content-range',
  'host',
  'authorization',
  'proxy-authorization',
  'www-authenticate',
  'set-cookie',
  'cookie',
  'location',
  'cache-control',
  'expect',
  'max-forwards',
  'range',
  'age',
  'date',
  'expires',
  'retry-after',
  'vary',
]);

const NAMES = new Map<string, string>();
const MAX_NAMES = 2048;

function lowerName(raw: Buffer): string {
  const text = raw.toString('latin1');
  let lower = NAMES.get(text);
  if (lower === undefined) {
    lower = text.toLowerCase();
    if (NAMES.size >= MAX_NAMES) NAMES.clear();
    NAMES.set(text, lower);
  }
  return lower;
}

/** @param raw names and values in turn */
export function responseHead(status: number, raw: readonly Buffer[]): ResponseHead {
  const headers: string[] = [];
  let connection = '';
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = lowerName(raw[index] as Buffer);
    if (name === 'connection') connection = `${connection},${(raw[index + 1] as Buffer).toString('latin1')}`;
    if (!DROPPED.has(name)) headers.push(name, (raw[index + 1] as Buffer).toString('latin1'));
  }
  if (connection === '' || /^,\s*(?:close|keep-alive)\s*$/i.test(connection)) return { status, headers };
  const named = new Set(connection.toLowerCase().split(/\s*,\s*/));
  return { status, headers: headers.filter((_text, index) => !named.has(headers[index - (index % 2)] ?? '')) };
}

/** Those trailers that go on. @param raw names and values in turn */
export function passedTrailers(raw: readonly Buffer[]): HeaderFields {
  const trailers: string[] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = lowerName(raw[index] as Buffer);
    if (!NO_TRAILERS.has(name)) trailers.push(name, (raw[index + 1] as Buffer).toString('latin1'));
  }
  return trailers;
}
