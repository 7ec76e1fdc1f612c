import type tls from 'node:tls';
import { isLoopback } from '../../listener/loopback.ts';
import { acceptTls } from '../../listener/tls.ts';
import type { Wire } from '../../listener/wire.ts';
import type { Proof, TokenVerifier, VerifiedIdentity } from '../../ports.ts';
import { createDeadline } from '../../session/deadline.ts';
import {
  bearerToken,
  errorResult,
  isErrorAcknowledgement,
  OAUTHBEARER,
  saslInitialResponse,
} from './client-auth-oauthbearer.ts';
import {
  agreedMinor,
  negotiateProtocolVersion,
  readStartupPacket,
  type StartupMessage,
  type StartupPacket,
  type StartupRequest,
  startupRequest,
  TLS_HANDSHAKE_BYTE,
} from './startup.ts';
import { StartupError, shown } from './startup-errors.ts';
import { type StartupReader, startupReader, takeMessage, WireClosed } from './startup-reader.ts';
import { refuse } from './startup-refusal.ts';

export interface ClientAuthOptions {
  readonly verifier: TokenVerifier;
  /** The server certificate now; undefined: TLS is not offered. */
  readonly tls: (() => tls.SecureContext) | undefined;
  /** Lets clients on this machine, and only them, in without TLS. */
  readonly plaintextLoopback: boolean;
  /**
   * The identity is proved by the stream that the client came on, such as a connector's tunnel: then nothing is asked for, and the
   * tunnel is the encryption; a client that wants TLS inside gets it.
   */
  readonly proof?: Proof;
  /** How a token is asked for when the client does not say. Default `password`, which every client can do. */
  readonly authentication?: 'password' | 'oauthbearer';
  /** From the first byte to the verified token, in milliseconds. Default 10 s. */
  readonly timeoutMs?: number;
  /** The lane's rules for settings at start-up; default: the allow-list of `startupRequest`. */
  readonly isSettingAllowed?: (name: string, value: string) => boolean;
}

/** A client that wants a session, and whose token was verified. AuthenticationOk has not been sent. */
export interface AuthenticatedClient {
  readonly type: 'session';
  /** Paused, callbacks free; over TLS when the client asked for it. */
  readonly wire: Wire;
  /** What arrived behind the last message of the authentication; normally empty. */
  readonly residual: Buffer;
  readonly startup: StartupRequest;
  readonly protocolMinor: 0 | 2;
  /** How the identity came: `password`, `oauthbearer`, or `connector`. */
  readonly method: string;
  readonly identity: VerifiedIdentity;
}

/** A CancelRequest: nothing is answered (manual, section "Canceling Requests in Progress"); the caller closes the wire. */
export interface ClientCancel {
  readonly type: 'cancel';
  readonly wire: Wire;
  readonly processId: number;
  readonly secret: Buffer;
}

const TIMEOUT_MS = 10_000;
/** As the server has it (PG_MAX_AUTH_TOKEN_LENGTH): more than any token that is accepted, so that its own error can be given. */
const MAX_ANSWER = 65_535;
const PASSWORD = 0x70;
const NEGATIVE = Buffer.from('N');
const POSITIVE = Buffer.from('S');

function authentication(code: number, data: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.write('R', 'latin1');
  head.writeInt32BE(8 + data.length, 1);
  head.writeInt32BE(code, 5);
  return Buffer.concat([head, data]);
}
const CLEARTEXT_PASSWORD = authentication(3);
const SASL_OAUTHBEARER = authentication(10, Buffer.from(`${OAUTHBEARER}\0\0`));
const saslContinue = (data: Uint8Array): Buffer => authentication(11, data);

const passwordMessage = takeMessage((type, length) => {
  if (type !== PASSWORD) throw new StartupError('SPG110', `message type 0x${type.toString(16).padStart(2, '0')}`);
  if (length < 0 || length > MAX_ANSWER) throw new StartupError('SPG110', `a message of ${length} bytes`);
});

/**
 * Brings a new client from its first byte to a verified identity: negotiates encryption, reads the start-up packet, asks for the
 * token and has it verified. A client that is refused is told why, its wire is closed, and the error is thrown.
 * @param accepted a wire nobody reads from yet
 * @throws StartupError
 */
export async function acceptClient(
  accepted: Wire,
  options: ClientAuthOptions,
  signal: AbortSignal,
): Promise<AuthenticatedClient | ClientCancel> {
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
  using deadline = createDeadline(signal, timeoutMs);
  const connection = { reader: startupReader(accepted), upgraded: false };
  try {
    const first = await negotiate(connection, options, deadline.signal);
    if (first.type === 'CancelRequest') {
      connection.reader.release();
      return { type: 'cancel', wire: connection.reader.wire, processId: first.processId, secret: first.secret };
    }
    const { reader } = connection;
    const { proof } = options;
    if (
      proof === undefined &&
      !reader.wire.encrypted &&
      !(options.plaintextLoopback && isLoopback(reader.wire.remoteAddress))
    ) {
      throw new StartupError('SPG108');
    }
    const startup = startupRequest(first, options.isSettingAllowed);
    const negotiation = negotiateProtocolVersion(first);
    if (negotiation !== undefined) reader.wire.write(negotiation);
    const asked = startup.authentication ?? options.authentication ?? 'password';
    const identity =
      proof === undefined
        ? await authenticate(reader, asked, startup, options.verifier, deadline.signal)
        : await asClientSees(proof(deadline.signal), startup, deadline.signal);
    const residual = reader.release();
    const method = proof === undefined ? asked : 'connector';
    return {
      type: 'session',
      wire: reader.wire,
      residual,
      startup,
      protocolMinor: agreedMinor(first),
      method,
      identity,
    };
  } catch (error) {
    const { reader } = connection;
    reader.release();
    const reported =
      deadline.expired && !(error instanceof StartupError) ? new StartupError('SPG109', timeoutMs / 1000) : error;
    if (reported instanceof StartupError) {
      refuse(reader.wire, reported);
      throw reported;
    }
    reader.wire.destroy();
    if (reported instanceof WireClosed) {
      const silent = reader.wire === accepted && !reader.heard;
      throw new StartupError(silent ? 'SPG117' : 'SPG116', '', { cause: reported });
    }
    throw reported;
  }
}

/** Everything before the StartupMessage: requests for encryption, each at most once, and direct TLS. */
async function negotiate(
  connection: { reader: StartupReader; upgraded: boolean },
  options: ClientAuthOptions,
  signal: AbortSignal,
): Promise<StartupMessage | Extract<StartupPacket, { type: 'CancelRequest' }>> {
  let gssRefused = false;
  let sslRefused = false;

  const upgrade = async (direct: boolean): Promise<void> => {
    const { reader } = connection;
    const received = reader.release();
    if (options.tls === undefined) throw new StartupError('SPG113', 'TLS is not offered here');
    let wire: Wire;
    try {
      wire = await acceptTls(reader.wire, { context: options.tls(), received, requireAlpn: direct, signal });
    } catch (error) {
      if (signal.aborted) throw error;
      throw new StartupError('SPG113', error instanceof Error ? shown(error.message) : '', { cause: error });
    }
    connection.reader = startupReader(wire);
    connection.upgraded = true;
  };

  const beginsWithTls = await connection.reader.read((bytes) => {
    const first = bytes[0];
    return first === undefined ? undefined : { value: first === TLS_HANDSHAKE_BYTE, length: 0 };
  }, signal);
  if (beginsWithTls) await upgrade(true);

  for (;;) {
    const { reader } = connection;
    const packet = await reader.read((bytes) => {
      const found = readStartupPacket(bytes);
      return found === undefined ? undefined : { value: found.packet, length: found.length };
    }, signal);
    switch (packet.type) {
      case 'SSLRequest':
        // Bytes behind it were sent before encryption by somebody who may not be the client (CVE-2021-23214).
        if (reader.buffered > 0) throw new StartupError('SPG103');
        if (connection.upgraded || sslRefused) throw new StartupError('SPG104', 'a second request for TLS');
        if (options.tls === undefined) {
          sslRefused = true;
          reader.wire.write(NEGATIVE);
        } else {
          reader.wire.write(POSITIVE);
          await upgrade(false);
        }
        break;
      case 'GSSENCRequest':
        if (reader.buffered > 0) throw new StartupError('SPG103');
        if (connection.upgraded || gssRefused) throw new StartupError('SPG104', 'a second request for GSSAPI');
        gssRefused = true;
        reader.wire.write(NEGATIVE);
        break;
      case 'CancelRequest':
      case 'StartupMessage':
        return packet;
      default:
        return packet satisfies never;
    }
  }
}

async function authenticate(
  reader: StartupReader,
  method: 'password' | 'oauthbearer',
  startup: StartupRequest,
  verifier: TokenVerifier,
  signal: AbortSignal,
): Promise<VerifiedIdentity> {
  switch (method) {
    case 'password': {
      reader.wire.write(CLEARTEXT_PASSWORD);
      const { body } = await reader.read(passwordMessage, signal);
      const end = body.indexOf(0);
      if (end < 0 || end !== body.length - 1)
        throw new StartupError('SPG110', 'a password that does not end where its message does');
      return verify(body.toString('utf8', 0, body.length - 1), reader.wire, startup, verifier, signal);
    }
    case 'oauthbearer': {
      reader.wire.write(SASL_OAUTHBEARER);
      let { response } = saslInitialResponse((await reader.read(passwordMessage, signal)).body);
      if (response === undefined) {
        reader.wire.write(saslContinue(Buffer.alloc(0)));
        response = (await reader.read(passwordMessage, signal)).body;
      }
      const token = bearerToken(response);
      try {
        return await verify(token ?? '', reader.wire, startup, verifier, signal);
      } catch (error) {
        if (!(error instanceof StartupError)) throw error;
        // RFC 7628, section 3.2.3: the result goes out as a challenge, the client acknowledges it, and only then it fails.
        reader.wire.write(saslContinue(errorResult(verifier.discovery)));
        const { body } = await reader.read(passwordMessage, signal);
        if (!isErrorAcknowledgement(body)) throw new StartupError('SPG111', 'the error result was not acknowledged');
        throw error;
      }
    }
    default:
      return method satisfies never;
  }
}

/** What went wrong between Sallyport and whoever says which tokens are good. */
const BETWEEN_US: ReadonlySet<string> = new Set(['SPI015', 'SPI016', 'SPI029', 'SPI032']);

/** What an error of identity looks like; `proxy/identity` is known here by its port only. */
function hasCode(error: unknown): error is Error & { code: string; hint: string } {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    'hint' in error &&
    typeof error.hint === 'string'
  );
}

async function verify(
  token: string,
  wire: Wire,
  startup: StartupRequest,
  verifier: TokenVerifier,
  signal: AbortSignal,
): Promise<VerifiedIdentity> {
  return asClientSees(verifier.verify(token, signal, wire.remoteAddress), startup, signal);
}

/** What a refused identity looks like to a client. @throws StartupError */
async function asClientSees(
  verifying: Promise<VerifiedIdentity>,
  startup: StartupRequest,
  signal: AbortSignal,
): Promise<VerifiedIdentity> {
  try {
    return await verifying;
  } catch (error) {
    if (signal.aborted || !hasCode(error)) throw error;
    // What is wrong between Sallyport and an issuer is the platform team's business, and holds addresses.
    if (BETWEEN_US.has(error.code)) throw new StartupError('SPG114', '', { detail: error.code, cause: error });
    throw new StartupError('SPG112', shown(startup.user), {
      hint: error.hint,
      detail: `${error.code}: ${error.message}`,
      cause: error,
    });
  }
}
