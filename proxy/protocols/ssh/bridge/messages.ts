/** Messages of the connection protocol (RFC 4254): read with every length checked, and written. */
import type { ChannelPurpose, ChannelRequest, GlobalRequest } from './port.ts';

export const Message = {
  GLOBAL_REQUEST: 80,
  REQUEST_SUCCESS: 81,
  REQUEST_FAILURE: 82,
  CHANNEL_OPEN: 90,
  CHANNEL_OPEN_CONFIRMATION: 91,
  CHANNEL_OPEN_FAILURE: 92,
  CHANNEL_WINDOW_ADJUST: 93,
  CHANNEL_DATA: 94,
  CHANNEL_EXTENDED_DATA: 95,
  CHANNEL_EOF: 96,
  CHANNEL_CLOSE: 97,
  CHANNEL_REQUEST: 98,
  CHANNEL_SUCCESS: 99,
  CHANNEL_FAILURE: 100,
} as const;

/** A peer did what the protocol forbids; the text is what it is told. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

/** Bytes of CHANNEL_DATA before the data: number, channel, length. */
export const DATA_HEADER = 9;
/** Of CHANNEL_EXTENDED_DATA: its type too. */
export const EXTENDED_HEADER = 13;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Undefined: not UTF-8, or with a NUL, which programs would read as the end. */
function textOf(bytes: Buffer): string | undefined {
  try {
    const text = utf8.decode(bytes);
    return text.includes('\0') ? undefined : text;
  } catch {
    return undefined;
  }
}

interface Reader {
  uint32(): number;
  bool(): boolean;
  string(): Buffer;
  text(): string | undefined;
  readonly position: number;
}

function reader(payload: Buffer, from: number): Reader {
  let at = from;
  const need = (count: number): void => {
    if (count > payload.length - at) throw new Violation('a message is cut off');
  };
  const self: Reader = {
    uint32() {
      need(4);
      at += 4;
      return payload.readUInt32BE(at - 4);
    },
    bool() {
      need(1);
      at++;
      return payload[at - 1] !== 0;
    },
    string() {
      const length = self.uint32();
      need(length);
      at += length;
      return payload.subarray(at - length, at);
    },
    text: () => textOf(self.string()),
    get position() {
      return at;
    },
  };
  return self;
}

const MAX_PORT = 65_535;

/** Names are US-ASCII (RFC 4250, section 4.6.1); others are shown as what they could be. */
const nameOf = (bytes: Buffer): string =>
  bytes
    .toString('latin1')
    .replace(/[^\x21-\x7e]/g, '?')
    .slice(0, 64);

export interface OpenMessage {
  readonly sender: number;
  readonly window: number;
  readonly maxPacket: number;
  readonly purpose: ChannelPurpose;
  /** Where the sender's number stands; window and packet size follow. */
  readonly at: number;
}

/** @throws Violation */
export function readOpen(payload: Buffer): OpenMessage {
  const read = reader(payload, 1);
  const name = nameOf(read.string());
  const at = read.position;
  const sender = read.uint32();
  const window = read.uint32();
  const maxPacket = read.uint32();
  return { sender, window, maxPacket, at, purpose: purposeOf(name, read) };
}

function purposeOf(name: string, read: Reader): ChannelPurpose {
  const other: ChannelPurpose = { type: 'other', name };
  switch (name) {
    case 'session':
    case 'auth-agent@openssh.com':
      return { type: name };
    case 'direct-tcpip':
    case 'forwarded-tcpip': {
      const host = read.text();
      const port = read.uint32();
      const originHost = read.text();
      const originPort = read.uint32();
      // Of a larger number servers take the lower half, or none at all.
      if (host === undefined || originHost === undefined || port > MAX_PORT) return other;
      return { type: name, host, port, originHost, originPort };
    }
    case 'direct-streamlocal@openssh.com':
    case 'forwarded-streamlocal@openssh.com': {
      const path = read.text();
      return path === undefined ? other : { type: name, path };
    }
    case 'x11': {
      const originHost = read.text();
      const originPort = read.uint32();
      return originHost === undefined ? other : { type: name, originHost, originPort };
    }
    default:
      return other;
  }
}

export interface RequestMessage {
  readonly wantReply: boolean;
  /** Where the byte stands that asks for a reply. */
  readonly at: number;
  readonly request: ChannelRequest;
}

/** @throws Violation */
export function readRequest(payload: Buffer): RequestMessage {
  const read = reader(payload, 5);
  const name = nameOf(read.string());
  const at = read.position;
  const wantReply = read.bool();
  return { wantReply, at, request: requestOf(name, read) };
}

function requestOf(name: string, read: Reader): ChannelRequest {
  const other: ChannelRequest = { type: 'other', name };
  switch (name) {
    case 'exec': {
      const bytes = read.string();
      const command = textOf(bytes);
      return command === undefined ? other : { type: name, command, bytes };
    }
    case 'shell':
    case 'x11-req':
    case 'auth-agent-req@openssh.com':
    case 'eow@openssh.com':
    case 'keepalive@openssh.com':
      return { type: name };
    case 'subsystem': {
      const subsystem = read.text();
      return subsystem === undefined ? other : { type: name, name: subsystem };
    }
    case 'pty-req': {
      const term = read.text();
      const [columns, rows] = [read.uint32(), read.uint32()];
      read.uint32();
      read.uint32();
      const modes = read.string();
      return term === undefined ? other : { type: name, term, columns, rows, modes };
    }
    case 'window-change': {
      const [columns, rows] = [read.uint32(), read.uint32()];
      return { type: name, columns, rows };
    }
    case 'env': {
      const [key, value] = [read.text(), read.text()];
      return key === undefined || value === undefined ? other : { type: name, name: key, value };
    }
    case 'signal':
      return { type: name, name: nameOf(read.string()) };
    case 'break':
      return { type: name, milliseconds: read.uint32() };
    case 'exit-status':
      return { type: name, status: read.uint32() };
    case 'exit-signal': {
      const signal = nameOf(read.string());
      const coreDumped = read.bool();
      return { type: name, name: signal, coreDumped, message: read.string().toString('utf8') };
    }
    default:
      return other;
  }
}

export interface GlobalMessage {
  readonly name: string;
  readonly wantReply: boolean;
  readonly request: GlobalRequest;
}

/** @throws Violation */
export function readGlobal(payload: Buffer): GlobalMessage {
  const read = reader(payload, 1);
  const name = nameOf(read.string());
  const wantReply = read.bool();
  return { name, wantReply, request: globalOf(name, read) };
}

function globalOf(name: string, read: Reader): GlobalRequest {
  const other: GlobalRequest = { type: 'other', name };
  switch (name) {
    case 'tcpip-forward':
    case 'cancel-tcpip-forward': {
      const host = read.text();
      const port = read.uint32();
      return host === undefined || port > MAX_PORT ? other : { type: name, host, port };
    }
    case 'streamlocal-forward@openssh.com':
    case 'cancel-streamlocal-forward@openssh.com': {
      const path = read.text();
      return path === undefined ? other : { type: name, path };
    }
    case 'no-more-sessions@openssh.com':
      return { type: name };
    default:
      return other;
  }
}

/** Number of the channel that a message is about. @throws Violation */
export function recipientOf(payload: Buffer): number {
  if (payload.length < 5) throw new Violation('a message is cut off');
  return payload.readUInt32BE(1);
}

/** Bytes of data in CHANNEL_DATA or CHANNEL_EXTENDED_DATA. @throws Violation */
export function dataLength(payload: Buffer, header: number): number {
  if (payload.length < header) throw new Violation('a message is cut off');
  const length = payload.readUInt32BE(header - 4);
  if (length !== payload.length - header) throw new Violation('a message has not the length that it names');
  return length;
}

const EXTENDED_STDERR = 1;

/** @throws Violation */
export function extendedType(payload: Buffer): 'stderr' | 'other' {
  return payload.readUInt32BE(5) === EXTENDED_STDERR ? 'stderr' : 'other';
}

/** Message number and 32-bit numbers. */
export function numbers(type: number, ...values: readonly number[]): Buffer {
  const payload = Buffer.allocUnsafe(1 + 4 * values.length);
  payload[0] = type;
  for (let i = 0; i < values.length; i++) payload.writeUInt32BE(values[i]!, 1 + 4 * i);
  return payload;
}

export function openFailure(recipient: number, reason: number, text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  return Buffer.concat([
    numbers(Message.CHANNEL_OPEN_FAILURE, recipient, reason, bytes.length),
    bytes,
    Buffer.alloc(4),
  ]);
}

export function openSession(sender: number, window: number, maxPacket: number): Buffer {
  const name = Buffer.from('session', 'latin1');
  const head = numbers(Message.CHANNEL_OPEN, name.length);
  return Buffer.concat([head, name, numbers(0, sender, window, maxPacket).subarray(1)]);
}

export function dataMessage(recipient: number, stream: 'data' | 'stderr', bytes: Buffer): Buffer {
  const header = stream === 'data' ? DATA_HEADER : EXTENDED_HEADER;
  const payload = Buffer.allocUnsafe(header + bytes.length);
  payload[0] = stream === 'data' ? Message.CHANNEL_DATA : Message.CHANNEL_EXTENDED_DATA;
  payload.writeUInt32BE(recipient, 1);
  if (stream === 'stderr') payload.writeUInt32BE(EXTENDED_STDERR, 5);
  payload.writeUInt32BE(bytes.length, header - 4);
  bytes.copy(payload, header);
  return payload;
}

export function exitStatus(recipient: number, status: number): Buffer {
  const name = Buffer.from('exit-status', 'latin1');
  return Buffer.concat([
    numbers(Message.CHANNEL_REQUEST, recipient, name.length),
    name,
    Buffer.from([0]),
    numbers(0, status).subarray(1),
  ]);
}

export const requestFailure = (): Buffer => Buffer.from([Message.REQUEST_FAILURE]);

/** exit-signal (RFC 4254, section 6.10) without the words that may come with it. */
export function exitSignal(recipient: number, signal: string, coreDumped: boolean): Buffer {
  const text = (value: string): Buffer[] => [numbers(0, value.length).subarray(1), Buffer.from(value, 'latin1')];
  return Buffer.concat([
    numbers(Message.CHANNEL_REQUEST, recipient),
    ...text('exit-signal'),
    Buffer.from([0]),
    ...text(signal),
    Buffer.from([coreDumped ? 1 : 0]),
    ...text(''),
    ...text(''),
  ]);
}
