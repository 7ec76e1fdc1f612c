/**
 * A PostgreSQL client of bytes: it sends exactly what a test says, when the test says it, and keeps every message that comes back.
 * Drivers hide what matters here: the order of replies, the status byte, how bytes were cut.
 */
import { once } from 'node:events';
import net from 'node:net';
import * as encode from '../../proxy/protocols/postgres/wire/encode.ts';

export interface WireMessage {
  /** Letter of the message. */
  readonly type: string;
  /** Without type and length. */
  readonly body: Buffer;
}

export interface WireClientOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  readonly port: number;
  readonly database?: string;
  readonly user?: string;
  /** Sent when the other side asks for a password. */
  readonly password?: string;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly minor?: number;
}

function startup(options: WireClientOptions): Buffer {
  const pairs = ['user', options.user ?? 'postgres', 'database', options.database ?? 'postgres'];
  for (const [name, value] of Object.entries(options.parameters ?? {})) pairs.push(name, value);
  const body = Buffer.from(`${pairs.map((text) => `${text}\0`).join('')}\0`);
  const head = Buffer.alloc(8);
  head.writeInt32BE(8 + body.length);
  head.writeInt32BE((3 << 16) | (options.minor ?? 0), 4);
  return Buffer.concat([head, body]);
}

/** Any message: one letter and a body. */
export function raw(type: string, body: Uint8Array | string): Buffer {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  const head = Buffer.alloc(5);
  head.write(type, 'latin1');
  head.writeUInt32BE(4 + bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

export interface BindValues {
  readonly portal?: string;
  readonly statement?: string;
  readonly values?: readonly (string | Buffer | null)[];
  readonly formats?: readonly number[];
  readonly results?: readonly number[];
}

/** Bind with values. */
export function bind(options: BindValues = {}): Buffer {
  const short = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
  const shorts = (values: readonly number[]): Buffer[] => [short(values.length), ...values.map(short)];
  const parts = [
    Buffer.from(`${options.portal ?? ''}\0${options.statement ?? ''}\0`),
    ...shorts(options.formats ?? []),
  ];
  const values = options.values ?? [];
  parts.push(short(values.length));
  for (const value of values) {
    const bytes = value === null ? undefined : Buffer.from(value as string);
    const length = Buffer.alloc(4);
    length.writeInt32BE(bytes?.length ?? -1);
    parts.push(length, bytes ?? Buffer.alloc(0));
  }
  return raw('B', Buffer.concat([...parts, ...shorts(options.results ?? [])]));
}

/** Parse, Bind, Describe portal, Execute of the unnamed statement: what drivers send for one statement. */
export function unnamed(sql: string, values: BindValues['values'] = [], maxRows = 0): Buffer {
  return Buffer.concat([
    encode.parse('', sql),
    bind({ values }),
    encode.describe('P', ''),
    encode.execute('', maxRows),
  ]);
}

/** Fields of an ErrorResponse or NoticeResponse, by letter. */
export function fieldsOf(message: WireMessage): Partial<Record<string, string>> {
  const fields: Partial<Record<string, string>> = {};
  for (const field of message.body.toString('utf8').split('\0')) if (field !== '') fields[field[0]!] = field.slice(1);
  return fields;
}

/** Values of a DataRow as text, null for NULL. */
export function rowOf(message: WireMessage): (string | null)[] {
  const values: (string | null)[] = [];
  for (let at = 2, left = message.body.readUInt16BE(0); left > 0; left--) {
    const length = message.body.readInt32BE(at);
    at += 4;
    values.push(length < 0 ? null : message.body.toString('utf8', at, at + length));
    at += Math.max(length, 0);
  }
  return values;
}

export class WireClient implements AsyncDisposable {
  readonly socket: net.Socket;
  /** Everything received, the start-up included. */
  readonly messages: WireMessage[] = [];
  /** How many messages the waits have used up. */
  #seen = 0;
  /** Bytes that are no whole message yet, and how many are needed for one. */
  #chunks: Buffer[] = [];
  #received = 0;
  #needed = 5;
  #closed = false;
  #wake: (() => void) | undefined;

  constructor(port: number, host = '127.0.0.1') {
    this.socket = net.connect({ port, host, noDelay: true });
    this.socket.on('data', (chunk: Buffer) => this.#take(chunk));
    // A reset is an end like any other here: what came before it is what tests look at.
    this.socket.on('error', () => this.#end());
    this.socket.on('close', () => this.#end());
  }

  /** Signs in and waits for ReadyForQuery. @throws when the session is refused, with the error's text */
  static async connect(options: WireClientOptions): Promise<WireClient> {
    const client = new WireClient(options.port, options.host);
    await once(client.socket, 'connect');
    client.send(startup(options));
    for (;;) {
      const message = await client.next();
      if (message === undefined) throw new Error('the session ended during start-up');
      if (message.type === 'E') {
        client.socket.destroy();
        throw Object.assign(new Error(message.body.toString('utf8').replaceAll('\0', '|')), {
          fields: fieldsOf(message),
        });
      }
      if (message.type === 'R' && message.body.readInt32BE(0) === 3)
        client.send(raw('p', `${options.password ?? ''}\0`));
      if (message.type === 'Z') return client;
    }
  }

  #take(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#received += chunk.length;
    if (this.#received < this.#needed) return;
    let bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    this.#needed = 5;
    while (bytes.length >= 5) {
      const end = 1 + bytes.readUInt32BE(1);
      if (end > bytes.length) {
        this.#needed = end;
        break;
      }
      this.messages.push({ type: String.fromCharCode(bytes[0]!), body: Buffer.from(bytes.subarray(5, end)) });
      bytes = bytes.subarray(end);
    }
    this.#chunks = [bytes];
    this.#received = bytes.length;
    this.#wake?.();
  }

  #end(): void {
    this.#closed = true;
    this.#wake?.();
  }

  send(...parts: readonly Uint8Array[]): this {
    this.socket.write(Buffer.concat(parts));
    return this;
  }

  /** The next message, or undefined when the other side has closed. */
  async next(): Promise<WireMessage | undefined> {
    while (this.#seen >= this.messages.length) {
      if (this.#closed) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    return this.messages[this.#seen++];
  }

  /** Messages up to and with the `count`-th of that type. @throws when the session ends before */
  async until(type: string, count = 1): Promise<WireMessage[]> {
    const found: WireMessage[] = [];
    for (let left = count; left > 0; ) {
      const message = await this.next();
      if (message === undefined)
        throw new Error(`the session ended after ${found.map(describeMessage).join(', ') || 'nothing'}`);
      found.push(message);
      if (message.type === type) left--;
    }
    return found;
  }

  /** Everything until the other side closes. */
  async toEnd(): Promise<WireMessage[]> {
    const found: WireMessage[] = [];
    for (let message = await this.next(); message !== undefined; message = await this.next()) found.push(message);
    return found;
  }

  /** Sends a simple query and returns its messages with ReadyForQuery. */
  query(sql: string): Promise<WireMessage[]> {
    this.send(encode.query(sql));
    return this.until('Z');
  }

  /** First ErrorResponse of a simple query. @throws when there was none */
  async errorOf(sql: string): Promise<Partial<Record<string, string>>> {
    const messages = await this.query(sql);
    const error = messages.find(({ type }) => type === 'E');
    if (error === undefined) throw new Error(`no error but ${messages.map(describeMessage).join(', ')}`);
    return fieldsOf(error);
  }

  /** Process id and secret of the session, for a CancelRequest. */
  get key(): Buffer {
    return this.messages.find(({ type }) => type === 'K')!.body;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy();
    if (!this.#closed) await once(this.socket, 'close');
  }
}

/** Sends a CancelRequest with the key of a session and waits until it was taken. */
export async function cancel(port: number, key: Buffer): Promise<void> {
  const socket = net.connect({ port, host: '127.0.0.1' });
  await once(socket, 'connect');
  const head = Buffer.alloc(8);
  head.writeInt32BE(8 + key.length);
  head.writeInt32BE(80877102, 4);
  socket.end(Buffer.concat([head, key]));
  socket.resume();
  await once(socket, 'close');
}

/** Short and readable: the letter, with what decides in it. */
export function describeMessage({ type, body }: WireMessage): string {
  switch (type) {
    case 'Z':
      return `Z${body.toString('latin1')}`;
    case 'C':
      return `C ${body.toString('utf8', 0, body.length - 1)}`;
    case 'E':
      return `E ${fieldsOf({ type, body }).C}`;
    default:
      return type;
  }
}

/** The order of messages, as tests compare it. */
export function shapeOf(messages: readonly WireMessage[]): string[] {
  return messages.map(describeMessage);
}
