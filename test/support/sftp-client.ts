/** An SFTP client by hand, for what stock clients do not do. */
import type { Duplex } from 'node:stream';
import * as n from '../../proxy/protocols/ssh/sftp/constants.ts';
import { packet, type Raw, readFields } from '../../proxy/protocols/ssh/sftp/fields.ts';
import { createFrameReader } from '../../proxy/protocols/ssh/sftp/frames.ts';

export interface Answer {
  readonly type: number;
  readonly frame: Buffer;
  /** Of STATUS. */
  readonly code: number | undefined;
  readonly message: string | undefined;
  /** Of HANDLE and DATA. */
  readonly bytes: Buffer | undefined;
  /** First of NAME. */
  readonly name: string | undefined;
}

export interface HandClient {
  ask(type: number, ...fields: readonly (number | string | Raw)[]): Promise<Answer>;
  open(path: string, flags: number): Promise<Answer>;
  read(handle: Buffer, offset: number, length: number): Promise<Answer>;
  write(handle: Buffer, offset: number, data: Buffer): Promise<Answer>;
  /** Names of extensions in VERSION. */
  readonly extensions: readonly string[];
  /** Everything that came from the server. */
  received(): Buffer;
  end(): void;
  readonly closed: Promise<void>;
}

/** A string field. */
export function field(bytes: Buffer): Raw {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return { raw: Buffer.concat([length, bytes]) };
}

export function uint64(value: number): Raw {
  const raw = Buffer.alloc(8);
  raw.writeBigUInt64BE(BigInt(value));
  return { raw };
}

export const NO_ATTRIBUTES: Raw = { raw: Buffer.alloc(4) };

function answerOf(frame: Buffer): Answer {
  const type = frame[4] ?? 0;
  const fields = readFields(frame, 9, 'SPS071');
  const none = { code: undefined, message: undefined, bytes: undefined, name: undefined };
  switch (type) {
    case n.STATUS:
      return { ...none, type, frame, code: fields.uint32(), message: fields.string(4096).toString() };
    case n.HANDLE:
    case n.DATA:
      return { ...none, type, frame, bytes: fields.string(n.MAX_PACKET) };
    case n.NAME:
      fields.uint32();
      return { ...none, type, frame, name: fields.string(n.MAX_PACKET).toString() };
    default:
      return { ...none, type, frame };
  }
}

export async function handClient(stream: Duplex): Promise<HandClient> {
  const frames = createFrameReader('SPS071');
  const waiting = new Map<number, (answer: Answer) => void>();
  const greeting = Promise.withResolvers<Buffer>();
  const over = Promise.withResolvers<void>();
  const chunks: Buffer[] = [];
  let greeted = false;
  let id = 0;
  stream.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    for (const frame of frames.push(Buffer.from(chunk))) {
      if (!greeted) {
        greeted = true;
        greeting.resolve(frame);
        continue;
      }
      const answered = frame.readUInt32BE(5);
      waiting.get(answered)?.(answerOf(frame));
      waiting.delete(answered);
    }
  });
  stream.on('error', () => {});
  stream.on('close', () => {
    over.resolve();
    greeting.reject(new Error('no VERSION came'));
  });
  stream.write(packet(n.INIT, n.VERSION));
  const fields = readFields(await greeting.promise, 9, 'SPS071');
  const extensions: string[] = [];
  while (fields.left > 0) {
    extensions.push(fields.string(256).toString());
    fields.string(256);
  }
  const client: HandClient = {
    extensions,
    closed: over.promise,
    ask(type, ...parts) {
      id++;
      const { promise, resolve } = Promise.withResolvers<Answer>();
      waiting.set(id, resolve);
      stream.write(packet(type, id, ...parts));
      return promise;
    },
    open: (path, flags) => client.ask(n.OPEN, path, flags, NO_ATTRIBUTES),
    read: (handle, offset, length) => client.ask(n.READ, field(handle), uint64(offset), length),
    write: (handle, offset, data) => client.ask(n.WRITE, field(handle), uint64(offset), field(data)),
    received: () => Buffer.concat(chunks),
    end: () => void stream.destroy(),
  };
  return client;
}
