import { X509Certificate } from 'node:crypto';
import type { Wire } from '../../listener/wire.ts';
import type { PostgresCredential } from '../../ports.ts';
import { createDeadline } from '../../session/deadline.ts';
import { dialTarget, labelOf, type Stage, startTls, type Target, upstreamFailure } from '../../upstream/dial.ts';
import { UpstreamError, type UpstreamErrorCode } from '../../upstream/errors.ts';
import { serverEndPoint } from './scram.ts';
import {
  type StartupMessageFrame,
  type StartupReader,
  startupReader,
  takeMessage,
  WireClosed,
} from './startup-reader.ts';
import { signIn } from './upstream-auth.ts';
import { endOfString, ProtocolViolation, sqlState } from './wire/decode.ts';
import { B } from './wire/messages.ts';

/** A signed-in connection to a PostgreSQL target, idle and outside a transaction. */
export interface UpstreamSession {
  /** Paused, callbacks free. */
  readonly wire: Wire;
  readonly backendPid: number;
  /** Secret for CancelRequest: 4 bytes in protocol 3.0, up to 256 in 3.2. */
  readonly cancelKey: Buffer;
  /** What the server reported, by name as it spells it. */
  readonly parameterStatus: Map<string, string>;
  /** Minor version that the server agreed to. */
  readonly protocolMinor: 0 | 2;
  /** NoticeResponses that came meanwhile, whole messages. */
  readonly notices: Buffer[];
  /** Bytes behind ReadyForQuery; normally empty. */
  readonly residual: Buffer;
}

export interface ConnectOptions {
  readonly connection: Target;
  readonly credential: PostgresCredential;
  /** PEM; undefined: the system's authorities. */
  readonly certificateAuthorities?: string | undefined;
  readonly database: string;
  /** Start-up parameters besides user and database, such as application_name and settings. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly protocolMinor: 0 | 2;
  readonly signal: AbortSignal;
  /** For everything up to ReadyForQuery, in milliseconds. Default 10 s. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 10_000;
/** Error and parameter messages are small; this is generous. */
const MAX_MESSAGE = 262_144;
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]);
const CANCEL_CODE = 80_877_102;

function startupPacket(minor: number, parameters: Readonly<Record<string, string>>): Buffer {
  const texts: string[] = [];
  for (const [name, value] of Object.entries(parameters)) {
    if (`${name}${value}`.includes('\0')) throw new ProtocolViolation('a start-up parameter with a NUL');
    texts.push(name, value);
  }
  const body = Buffer.from(`${texts.map((text) => `${text}\0`).join('')}\0`, 'utf8');
  const head = Buffer.alloc(8);
  head.writeInt32BE(8 + body.length, 0);
  head.writeInt32BE((3 << 16) | minor, 4);
  return Buffer.concat([head, body]);
}

interface Opened {
  readonly reader: StartupReader;
  readonly endPoint: Buffer | undefined;
}

type OpenOptions = Pick<ConnectOptions, 'connection' | 'certificateAuthorities'> & {
  readonly credential?: PostgresCredential;
};

/** TCP, and TLS as the connection says. `opened` is told of each wire, so that the caller can close it whatever happens. */
async function open(
  options: OpenOptions,
  signal: AbortSignal,
  enter: (stage: Stage) => void,
  opened: (wire: Wire) => void,
): Promise<Opened> {
  const { connection } = options;
  const plain = await dialTarget(connection, signal);
  opened(plain);
  if (connection.target.tls.mode === 'Disable') return { reader: startupReader(plain), endPoint: undefined };
  enter('negotiating TLS');
  const label = labelOf(connection);
  const reader = startupReader(plain);
  plain.write(SSL_REQUEST);
  const answer = await reader.read((bytes) => {
    const first = bytes[0];
    return first === undefined ? undefined : { value: first, length: 1 };
  }, signal);
  // 'E' is a server from before TLS, or one that has no process left; it is not believed either way.
  if (answer === 0x4e || answer === 0x45) throw new UpstreamError('SPU005', [label]);
  if (answer !== 0x53) throw new UpstreamError('SPU014', [label, 'another answer than S or N to the request for TLS']);
  // Bytes behind the answer were sent before encryption by somebody who may not be the server (CVE-2021-23222).
  if (reader.release().length > 0)
    throw new UpstreamError('SPU014', [label, 'unencrypted bytes behind the answer to the request for TLS']);
  const { credential } = options;
  const { wire, socket } = await startTls(
    plain,
    connection,
    {
      certificateAuthorities: options.certificateAuthorities,
      alpn: 'postgresql',
      ...(credential?.type === 'certificate' ? { clientCertificate: credential } : {}),
    },
    signal,
  );
  opened(wire);
  const peer = socket.getPeerX509Certificate();
  return {
    reader: startupReader(wire),
    endPoint: peer === undefined ? undefined : serverEndPoint(new X509Certificate(peer.raw)),
  };
}

/** Our error for what the target refused with. Its text stays out; the state goes to the log as the cause. */
function refusal(label: string, state: string): UpstreamError {
  const cause = new Error(`the target answered with SQLSTATE ${state}`);
  const code: UpstreamErrorCode | undefined = (
    {
      '28P01': 'SPU010',
      '28000': 'SPU010',
      '53300': 'SPU015',
      '3D000': 'SPU016',
      '57P03': 'SPU017',
      '57P01': 'SPU017',
      '57P02': 'SPU017',
      '22023': 'SPU018',
      '42704': 'SPU018',
      '42501': 'SPU018',
      '55P02': 'SPU018',
    } as const satisfies Record<string, UpstreamErrorCode> as Record<string, UpstreamErrorCode>
  )[state];
  return code === undefined
    ? new UpstreamError('SPU021', [label, /^[0-9A-Z]{5}$/.test(state) ? state : 'unknown'], cause)
    : new UpstreamError(code, [label], cause);
}

/**
 * Opens a connection to the target of `connection`, signs in and waits until it is ready.
 * @throws UpstreamError; the signal's reason when the caller gave up
 */
export async function connectUpstream(options: ConnectOptions): Promise<UpstreamSession> {
  const { connection, credential } = options;
  const label = labelOf(connection);
  using deadline = createDeadline(options.signal, options.timeoutMs ?? TIMEOUT_MS);
  const { signal } = deadline;
  let stage: Stage = 'connecting';
  let wire: Wire | undefined;
  const parameterStatus = new Map<string, string>();
  const notices: Buffer[] = [];
  let protocolMinor = options.protocolMinor;

  const take = takeMessage((type, length) => {
    if (length < 0 || length > MAX_MESSAGE)
      throw new UpstreamError('SPU014', [label, 'a message of impossible length']);
    if (!EXPECTED.has(type)) throw new UpstreamError('SPU014', [label, `message type 0x${type.toString(16)}`]);
  });

  /** The next message that is not about the connection at large. */
  async function next(reader: StartupReader): Promise<StartupMessageFrame> {
    for (;;) {
      const frame = await reader.read(take, signal);
      const { type, body } = frame;
      switch (type) {
        case B.Error:
          throw refusal(label, sqlState(body, 0, body.length));
        case B.Notice:
          notices.push(whole(frame));
          break;
        case B.ParameterStatus: {
          const nameEnd = endOfString(body, 0, body.length);
          const valueEnd = endOfString(body, nameEnd + 1, body.length);
          parameterStatus.set(body.toString('utf8', 0, nameEnd), body.toString('utf8', nameEnd + 1, valueEnd));
          break;
        }
        case B.NegotiateProtocolVersion:
          if (body.length < 8) throw new ProtocolViolation('NegotiateProtocolVersion is too short');
          // Older servers say the minor version alone, newer ones the whole number.
          protocolMinor = (body.readInt32BE(0) & 0xffff) >= 2 && options.protocolMinor === 2 ? 2 : 0;
          break;
        default:
          return frame;
      }
    }
  }

  try {
    const { reader, endPoint } = await open(
      options,
      signal,
      (entered) => {
        stage = entered;
      },
      (opened) => {
        wire = opened;
      },
    );
    stage = 'signing in';
    reader.wire.write(
      startupPacket(options.protocolMinor, {
        user: credential.username,
        database: options.database,
        ...options.parameters,
      }),
    );
    await signIn(
      {
        send: (bytes) => {
          reader.wire.write(bytes);
        },
        async nextAuthentication() {
          const frame = await next(reader);
          if (frame.type === B.Authentication) return frame;
          throw new UpstreamError('SPU014', [label, 'another message than an authentication request']);
        },
      },
      { connection, credential, encrypted: reader.wire.encrypted, endPoint },
    );
    stage = 'starting the session';
    let key: { backendPid: number; cancelKey: Buffer } | undefined;
    for (;;) {
      const { type, body } = await next(reader);
      if (type === B.BackendKeyData) {
        if (body.length < 8 || body.length > 260) throw new ProtocolViolation('BackendKeyData of another length');
        key = { backendPid: body.readInt32BE(0), cancelKey: Buffer.from(body.subarray(4)) };
      } else if (type === B.ReadyForQuery) {
        if (body.length !== 1 || body[0] !== 0x49) throw new ProtocolViolation('not idle when it became ready');
        break;
      } else throw new ProtocolViolation('another message than start-up has');
    }
    const residual = reader.release();
    // A pooler may send no key; then there is nothing to cancel with.
    return {
      wire: reader.wire,
      ...(key ?? { backendPid: 0, cancelKey: Buffer.alloc(0) }),
      parameterStatus,
      protocolMinor,
      notices,
      residual,
    };
  } catch (error) {
    wire?.destroy();
    if (options.signal.aborted) throw options.signal.reason;
    if (error instanceof ProtocolViolation) throw new UpstreamError('SPU014', [label, error.message], error);
    // In TLS 1.3 a client certificate is judged after the client's side of the handshake is over; Node drops the alert that says so.
    if (error instanceof WireClosed && stage === 'signing in' && credential.type === 'certificate') {
      throw new UpstreamError(
        'SPU008',
        [label, 'it was broken off where a server refuses the client certificate'],
        error,
      );
    }
    throw upstreamFailure(connection, stage, error, deadline.expired);
  }
}

const EXPECTED = new Set<number>([
  B.Authentication,
  B.BackendKeyData,
  B.ParameterStatus,
  B.NegotiateProtocolVersion,
  B.ReadyForQuery,
  B.Error,
  B.Notice,
]);

function whole(frame: StartupMessageFrame): Buffer {
  const head = Buffer.alloc(5);
  head[0] = frame.type;
  head.writeInt32BE(4 + frame.body.length, 1);
  return Buffer.concat([head, frame.body]);
}

export interface CancelOptions {
  readonly connection: Target;
  readonly certificateAuthorities?: string | undefined;
  readonly backendPid: number;
  readonly cancelKey: Buffer;
  readonly signal: AbortSignal;
  readonly timeoutMs?: number;
}

/**
 * Asks the target to cancel what a session runs, over a connection of its own and as encrypted as the session's. Resolves once the
 * server has closed it: then the signal is on its way.
 * @throws UpstreamError; the signal's reason when the caller gave up
 */
export async function cancelUpstream(options: CancelOptions): Promise<void> {
  using deadline = createDeadline(options.signal, options.timeoutMs ?? TIMEOUT_MS);
  const { signal } = deadline;
  let stage: Stage = 'connecting';
  let wire: Wire | undefined;
  try {
    const { reader } = await open(
      options,
      signal,
      (entered) => {
        stage = entered;
      },
      (opened) => {
        wire = opened;
      },
    );
    const request = Buffer.alloc(12);
    request.writeInt32BE(12 + options.cancelKey.length, 0);
    request.writeInt32BE(CANCEL_CODE, 4);
    request.writeInt32BE(options.backendPid, 8);
    const closed = new Promise<void>((resolve, reject) => {
      reader.release();
      reader.wire.onEnd = resolve;
      reader.wire.onClose = () => resolve();
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
    reader.wire.resume();
    reader.wire.write(Buffer.concat([request, options.cancelKey]));
    await closed;
  } catch (error) {
    if (options.signal.aborted) throw options.signal.reason;
    throw upstreamFailure(options.connection, stage, error, deadline.expired);
  } finally {
    wire?.destroy();
  }
}
