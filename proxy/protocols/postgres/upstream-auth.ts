import { createHash } from 'node:crypto';
import type { PostgresCredential } from '../../ports.ts';
import { labelOf, type Target } from '../../upstream/dial.ts';
import { UpstreamError } from '../../upstream/errors.ts';
import { beginScram, createScramKeyCache, ScramError, type ScramKeys } from './scram.ts';
import type { StartupMessageFrame } from './startup-reader.ts';

/** How the gateway proves itself to a target (manual, section "Message Flow", Start-up). */

/** Writes one message and reads the next one that matters to authentication. */
export interface UpstreamDialogue {
  send(bytes: Buffer): void;
  /** The next Authentication message, with errors already thrown. */
  nextAuthentication(): Promise<StartupMessageFrame>;
}

export interface SignIn {
  readonly connection: Target;
  readonly credential: PostgresCredential;
  readonly encrypted: boolean;
  /** Channel binding data of the server's certificate. */
  readonly endPoint: Buffer | undefined;
}

const METHODS: Readonly<Record<number, string>> = {
  2: 'Kerberos V5',
  6: 'SCM credentials',
  7: 'GSSAPI',
  8: 'GSSAPI',
  9: 'SSPI',
};

const keyCache = createScramKeyCache();

function answer(...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const head = Buffer.alloc(5);
  head.write('p', 'latin1');
  head.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}

const md5 = (...data: readonly Uint8Array[]): string => {
  const hash = createHash('md5');
  for (const part of data) hash.update(part);
  return hash.digest('hex');
};

/**
 * Answers the target until it says AuthenticationOk.
 * @throws UpstreamError SPU010 to SPU014, SPU019, SPU020
 */
export async function signIn(dialogue: UpstreamDialogue, options: SignIn): Promise<void> {
  const label = labelOf(options.connection);
  const malformed = (what: string): UpstreamError => new UpstreamError('SPU014', [label, what]);
  const password = (): string => {
    if (options.credential.type === 'password') return options.credential.password;
    throw new UpstreamError('SPU019', [label]);
  };
  const codeIn = (frame: StartupMessageFrame): number => {
    if (frame.body.length < 4) throw malformed('a truncated authentication request');
    return frame.body.readInt32BE(0);
  };

  const request = await dialogue.nextAuthentication();
  const code = codeIn(request);
  switch (code) {
    case 0:
      return;
    case 3:
      if (!options.encrypted) throw new UpstreamError('SPU012', [label]);
      dialogue.send(answer(Buffer.from(`${password()}\0`, 'utf8')));
      break;
    case 5: {
      if (request.body.length !== 8) throw malformed('an MD5 salt of another length');
      const salt = request.body.subarray(4);
      const inner = md5(Buffer.from(password() + options.credential.username, 'utf8'));
      dialogue.send(answer(Buffer.from(`md5${md5(Buffer.from(inner, 'latin1'), salt)}\0`, 'latin1')));
      break;
    }
    case 10:
      await scram(dialogue, options, request.body.subarray(4), password(), codeIn);
      break;
    default:
      throw new UpstreamError('SPU011', [label, METHODS[code] ?? `method ${code}`]);
  }
  if (codeIn(await dialogue.nextAuthentication()) !== 0) throw malformed('a second authentication request');
}

async function scram(
  dialogue: UpstreamDialogue,
  options: SignIn,
  list: Buffer,
  password: string,
  codeIn: (frame: StartupMessageFrame) => number,
): Promise<void> {
  const label = labelOf(options.connection);
  const offered = list
    .toString('latin1')
    .split('\0')
    .filter((mechanism) => mechanism !== '');
  const client = beginScram(offered, options.endPoint);
  if (client === undefined) {
    const known = offered.filter((mechanism) => /^[A-Z0-9_-]{1,20}$/.test(mechanism));
    throw new UpstreamError('SPU011', [label, known.join(' or ') || 'SASL']);
  }
  const length = Buffer.alloc(4);
  length.writeInt32BE(client.first.length);
  dialogue.send(answer(Buffer.from(`${client.mechanism}\0`, 'latin1'), length, client.first));
  /** AuthenticationOk in place of the server's proof would be somebody who does not know the password. */
  const expect = async (code: number): Promise<Buffer> => {
    const frame = await dialogue.nextAuthentication();
    const found = codeIn(frame);
    if (found === 0) throw new UpstreamError('SPU013', [label]);
    if (found !== code) throw new UpstreamError('SPU014', [label, `authentication message ${found} during SCRAM`]);
    return frame.body.subarray(4);
  };
  try {
    const derived = options.credential.type === 'password' ? options.credential.scram : undefined;
    const keysOf = (salt: Buffer, iterations: number): Promise<ScramKeys> =>
      derived?.iterations === iterations && derived.salt.equals(salt)
        ? Promise.resolve(derived)
        : keyCache(options.credential.username, password, salt, iterations);
    dialogue.send(answer(await client.final(await expect(11), keysOf)));
    client.verify(await expect(12));
  } catch (error) {
    if (!(error instanceof ScramError)) throw error;
    switch (error.kind) {
      case 'malformed':
        throw new UpstreamError('SPU014', [label, error.message], error);
      case 'unproved':
        throw new UpstreamError('SPU013', [label], error);
      case 'iterations':
        throw new UpstreamError('SPU020', [label, error.message], error);
      default:
        throw error.kind satisfies never;
    }
  }
}
