import { normalisePath } from './path.ts';

/** As inet_aton takes it, and with it every resolver: one to four numbers, decimal, octal or hexadecimal. */
const NUMBERS = /^(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}$/;
const MAPPED = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/;

/**
 * The usual form of an address that can be written in others: `2852039166` and `[::ffff:a9fe:a9fe]` are 169.254.169.254.
 * @param host lower case, an IPv6 address in brackets
 * @returns the host itself where it is a name
 */
export function usualAddress(host: string): string {
  const v6 = /^\[([0-9a-f:.]+)(%[^\]]*)?\]$/.exec(host);
  if (v6 === null && !NUMBERS.test(host)) return host;
  const address = v6 === null ? host : `[${v6[1]}]`;
  if (!URL.canParse(`http://${address}/`)) return host;
  const { hostname } = new URL(`http://${address}/`);
  const [, high, low] = MAPPED.exec(hostname) ?? [];
  if (high === undefined || low === undefined) return hostname;
  const bytes = [high, low].flatMap((word) => [Number.parseInt(word, 16) >> 8, Number.parseInt(word, 16) & 255]);
  return bytes.join('.');
}

/** The usual form of a socket's path; a relative one begins where servers stand, in the root. */
export function usualSocket(path: string): string {
  const normal = normalisePath(path, '/');
  return 'reason' in normal ? path : normal.path;
}
