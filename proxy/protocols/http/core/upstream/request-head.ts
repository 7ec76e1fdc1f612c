import { HttpRefused, httpError } from '../errors.ts';
import { NOT_OF_A_VALUE, OURS_TO_WRITE, TOKEN } from '../field-syntax.ts';
import type { UpstreamSend } from '../port.ts';

/** The head of a request to a target (RFC 9112, section 3), as one text: what a lane says of framing and connection is not taken over. */

const NOT_OF_A_TARGET = /[^\x21-\x7e\x80-\xff]/;
/** Methods whose requests say that they have no body (RFC 9110, section 8.6). */
const EXPECT_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH', 'QUERY', 'PROPFIND', 'PROPPATCH']);
/** Methods whose bodies some servers overlook, and read as the next request on the connection. */
const BODILESS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Whether a field of this name goes on as it is. */
const NAMES = new Map<string, boolean>();
const MAX_NAMES = 2048;

const unsendable = (what: string): HttpRefused =>
  new HttpRefused(httpError('SPE015'), new Error(`${what} of a request cannot be written`));

function goesOn(name: string): boolean {
  const known = NAMES.get(name);
  if (known !== undefined) return known;
  if (!TOKEN.test(name)) throw unsendable('the name of a field');
  const made = !OURS_TO_WRITE.has(name.toLowerCase());
  if (NAMES.size >= MAX_NAMES) NAMES.clear();
  NAMES.set(name, made);
  return made;
}

/** Whether the connection must not carry another request behind this one. */
export const isLast = ({ method, body }: UpstreamSend): boolean =>
  body !== null && BODILESS.has(method) && !(body instanceof Uint8Array && body.length === 0);

/**
 * Latin-1, with the empty line at its end.
 * @param host of the target, where the request names no other
 * @throws HttpRefused SPE015 when something of it could be read as more than it is; nothing was written then
 */
export function requestHead(request: UpstreamSend, host: string): string {
  const { method, target, headers, body, contentLength, upgrade } = request;
  const named = request.host ?? host;
  if (!TOKEN.test(method)) throw unsendable('the method');
  if (target === '' || NOT_OF_A_TARGET.test(target)) throw unsendable('the target');
  if (NOT_OF_A_VALUE.test(named)) throw unsendable('the host');
  let text = `${method} ${target} HTTP/1.1\r\nhost: ${named}\r\n`;
  if (upgrade === undefined) text += isLast(request) ? 'connection: close\r\n' : 'connection: keep-alive\r\n';
  else if (TOKEN.test(upgrade.replace('/', ''))) text += `connection: upgrade\r\nupgrade: ${upgrade}\r\n`;
  else throw unsendable('the upgrade');
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = headers[index] as string;
    if (!goesOn(name)) continue;
    const value = headers[index + 1] as string;
    if (NOT_OF_A_VALUE.test(value)) throw unsendable('the value of a field');
    text += `${name}: ${value}\r\n`;
  }
  if (body === null) return EXPECT_BODY.has(method) ? `${text}content-length: 0\r\n\r\n` : `${text}\r\n`;
  if (body instanceof Uint8Array) {
    const says = body.length > 0 || EXPECT_BODY.has(method);
    return says ? `${text}content-length: ${body.length}\r\n\r\n` : `${text}\r\n`;
  }
  if (contentLength === undefined) return `${text}transfer-encoding: chunked\r\n\r\n`;
  if (!Number.isSafeInteger(contentLength) || contentLength < 0) throw unsendable('the length');
  return `${text}content-length: ${contentLength}\r\n\r\n`;
}
