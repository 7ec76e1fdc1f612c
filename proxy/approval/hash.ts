import { createHash, type Hash } from 'node:crypto';
import type { HeldCommand } from '../ports.ts';

/**
 * What an approval is bound to. Every part is written with its length in front (netstrings), every list with its count, so that no
 * two different commands have the same encoding: `a` followed by `bc` is not `ab` followed by `c`.
 */
type Part = string | Uint8Array;

function writer(hash: Hash): (...parts: readonly Part[]) => void {
  return (...parts) => {
    for (const part of parts) {
      const bytes = typeof part === 'string' ? Buffer.from(part, 'utf8') : part;
      hash.update(`${bytes.length}:`).update(bytes).update(',');
    }
  };
}

/** Who asks for it where, and everything around the text that changes its meaning. */
function writeContext(write: (...parts: readonly Part[]) => void, command: HeldCommand): void {
  const { connection, subject, target, settings } = command;
  write(connection.protocol);
  if (connection.uid === '') write('name', connection.namespace, connection.name);
  else write('uid', connection.uid);
  write(subject.username);
  for (const named of [target, settings]) {
    const sorted = Object.entries(named).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    write(String(sorted.length), ...sorted.flat());
  }
}

/** `sha256:` and 64 hexadecimal digits over the exact bytes, the values with them and everything that changes their meaning. */
export function commandHash(command: HeldCommand): string {
  const hash = createHash('sha256');
  const write = writer(hash);
  write('sallyport.dev/approval/command/v2');
  writeContext(write, command);
  write(command.text, String(command.values.length));
  for (const { format, bytes } of command.values) {
    if (bytes === null) write(format, 'null');
    else write(format, 'value', bytes);
  }
  return `sha256:${hash.digest('hex')}`;
}

/** The same without the values: what `reuseFor` compares. Undefined when an approval covers these values only. */
export function fingerprintHash(command: HeldCommand): string | undefined {
  if (command.fingerprint === undefined) return undefined;
  const hash = createHash('sha256');
  const write = writer(hash);
  write('sallyport.dev/approval/statement/v2');
  writeContext(write, command);
  write(command.fingerprint);
  return `sha256:${hash.digest('hex')}`;
}

/**
 * The same for the same command of the same requester, so that fifty retries make one request. `-2`, `-3`, … follow once the
 * earlier one was denied, expired, withdrawn or used.
 */
export function baseName(command: HeldCommand, hash: string): string {
  const digest = createHash('sha256').update(`${hash}\n${command.subject.username}`).digest('hex');
  return `${command.connection.name}-${digest.slice(0, 12)}`;
}

/** The request's name with its number; the first has none. */
export function numberedName(base: string, number: number): string {
  return number === 1 ? base : `${base}-${number}`;
}

/** Base and number of a name, or undefined when it is not one of ours. */
export function splitName(name: string): { readonly base: string; readonly number: number } | undefined {
  const match = /^(.+-[0-9a-f]{12})(?:-([1-9][0-9]{0,8}))?$/.exec(name);
  return match?.[1] === undefined ? undefined : { base: match[1], number: Number(match[2] ?? 1) };
}
