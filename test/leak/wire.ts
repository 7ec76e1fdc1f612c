/** A client of the PostgreSQL protocol that sends whatever it is told to, in any order, and keeps every byte that comes back. */
import { once } from 'node:events';
import net from 'node:net';

/** Messages that go out in one write, and how many ReadyForQuery they are answered with. */
export interface Send {
  readonly bytes: Buffer;
  readonly readies: number;
  /** Waits for as many messages of this type instead; an ErrorResponse ends the wait, too. */
  readonly until?: string;
}

/** Texts are simple queries. */
export type Step = string | Send;

function message(type: string, ...parts: readonly (string | number | Buffer)[]): Buffer {
  const body = Buffer.concat(
    parts.map((part) => {
      if (typeof part === 'string') return Buffer.from(`${part}\0`);
      if (typeof part !== 'number') return part;
      const number = Buffer.alloc(4);
      number.writeInt32BE(part);
      return number;
    }),
  );
  const head = Buffer.alloc(type.length + 4);
  head.write(type);
  head.writeUInt32BE(body.length + 4, type.length);
  return Buffer.concat([head, body]);
}

function int16s(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 2);
  for (const [index, value] of values.entries()) bytes.writeInt16BE(value, index * 2);
  return bytes;
}

export const Q = (sql: string): Buffer => message('Q', sql);
export const P = (name: string, sql: string): Buffer => message('P', name, sql, int16s(0));
export const D = (kind: 'S' | 'P', name: string): Buffer => message('D', Buffer.from(kind), name);
export const E = (portal: string, maxRows = 0): Buffer => message('E', portal, maxRows);
export const C = (kind: 'S' | 'P', name: string): Buffer => message('C', Buffer.from(kind), name);
export const H = message('H');
export const S = message('S');
export const COPY_DONE = message('c');
export const copyData = (rows: string): Buffer => message('d', Buffer.from(rows));

/** `result`: 0 text, 1 binary, for all columns. */
export function B(portal: string, statement: string, values: readonly string[] = [], result: 0 | 1 = 0): Buffer {
  const parts: (string | number | Buffer)[] = [portal, statement, int16s(0), int16s(values.length)];
  for (const value of values) parts.push(Buffer.byteLength(value), Buffer.from(value));
  return message('B', ...parts, int16s(1, result));
}

/** FunctionCall with text arguments and a text result. */
export function F(oid: number, values: readonly string[]): Buffer {
  const parts: (number | Buffer)[] = [oid, int16s(0), int16s(values.length)];
  for (const value of values) parts.push(Buffer.byteLength(value), Buffer.from(value));
  return message('F', ...parts, int16s(0));
}

const READY_AFTER = new Set(['Q', 'S', 'F'].map((type) => type.charCodeAt(0)));

/** All of these in one write, waiting for every ReadyForQuery. */
export function together(...messages: readonly Buffer[]): Send {
  const readies = messages.filter((bytes) => READY_AFTER.has(bytes[0] ?? 0)).length;
  return { bytes: Buffer.concat(messages), readies };
}

/** Parse, Bind and Execute of the unnamed statement, without Describe. */
export const extended = (sql: string, result: 0 | 1 = 0, values: readonly string[] = []): Send =>
  together(P('', sql), B('', '', values, result), E(''), S);

export interface Answer {
  readonly type: string;
  readonly body: Buffer;
}

export interface AgentClient {
  /** Everything that came since the client was made. */
  received(): Buffer;
  /** Messages that came for this step. @throws when they do not come in time */
  send(step: Step): Promise<readonly Answer[]>;
  readonly closed: boolean;
  end(): Promise<void>;
}

const PATIENCE_MS = 10_000;

/** Logs in with the token as password. @throws when it is refused */
export async function connectAgent(port: number, database: string, token: string): Promise<AgentClient> {
  const socket = net.connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  let pending: Buffer = Buffer.alloc(0);
  let answers: Answer[] = [];
  let closed = false;
  let wake = (): void => {};
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    pending = Buffer.concat([pending, chunk]);
    while (pending.length >= 5 && pending.length > pending.readUInt32BE(1)) {
      const end = pending.readUInt32BE(1) + 1;
      const type = pending.toString('latin1', 0, 1);
      answers.push({ type, body: pending.subarray(5, end) });
      pending = pending.subarray(end);
      // The gateway's own answers are told from rows by what a COPY needs to go on.
      if (type === 'G') socket.write(Buffer.concat([copyData('1\n'), COPY_DONE]));
    }
    wake();
  });
  socket.on('close', () => {
    closed = true;
    wake();
  });
  // What breaks the connection shows as its end, which is what an attack has to find out.
  socket.on('error', () => {
    closed = true;
    wake();
  });

  async function until(done: () => boolean): Promise<readonly Answer[]> {
    const deadline = setTimeout(() => wake(), PATIENCE_MS);
    const from = Date.now();
    try {
      while (!done() && !closed) {
        if (Date.now() - from >= PATIENCE_MS) {
          throw new Error(`no answer after ${answers.map(({ type }) => type).join('')}`);
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      return answers;
    } finally {
      clearTimeout(deadline);
    }
  }

  const count = (type: string): number => answers.filter((answer) => answer.type === type).length;

  async function send(step: Step): Promise<readonly Answer[]> {
    const { bytes, readies, until: type } = typeof step === 'string' ? together(Q(step)) : step;
    answers = [];
    if (closed) return [];
    socket.write(bytes);
    if (type !== undefined) return until(() => count(type) > 0 || count('E') > 0);
    return until(() => count('Z') >= readies);
  }

  await once(socket, 'connect');
  const startup = message('', 196_608, 'user', 'agent', 'database', database, Buffer.from([0]));
  socket.write(startup);
  await until(() => count('R') > 0 || count('E') > 0);
  await send({ bytes: message('p', token), readies: 1 });
  if (count('Z') === 0) throw new Error(`login failed: ${Buffer.concat(chunks).toString('latin1')}`);
  return {
    received: () => Buffer.concat(chunks),
    send,
    get closed() {
      return closed;
    },
    async end() {
      if (closed) return;
      socket.end(message('X'));
      await until(() => false);
    },
  };
}
