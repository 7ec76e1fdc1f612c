import { isIP } from 'node:net';

/** True for 127.0.0.0/8 and ::1, also when an IPv4 address is written as an IPv6 one; false for names and for an unknown address. */
export function isLoopback(address: string | undefined): boolean {
  if (address === undefined) return false;
  const plain = address.startsWith('::ffff:') ? address.slice(7) : address;
  return isIP(plain) === 4 ? plain.startsWith('127.') : plain === '::1';
}
