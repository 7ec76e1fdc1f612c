/** Runs the same bytes against a server directly and through Sallyport, and makes what came back comparable byte for byte. */
import { describeMessage, fieldsOf, type WireClient, type WireMessage } from './wire-client.ts';

/** What is sent at once, and how far the client reads before it goes on. */
export interface Step {
  readonly send: Uint8Array;
  /** Type of message to wait for, default ReadyForQuery. */
  readonly until?: string;
  /** How many of them, default 1; 0: go on at once. */
  readonly count?: number;
}

/** Body of a RowDescription with object ids of users' tables replaced by their order of appearance. */
export function withoutIds(body: Buffer, ids: Map<number, number>): Buffer {
  const copy = Buffer.from(body);
  for (let at = 2, left = copy.readUInt16BE(0); left > 0; left--) {
    at = copy.indexOf(0, at) + 1;
    const id = copy.readUInt32BE(at);
    if (id >= 16384 && !ids.has(id)) ids.set(id, ids.size + 1);
    copy.writeUInt32BE(ids.get(id) ?? id, at);
    at += 18;
  }
  return copy;
}

/** What differs between any two sessions of one server (object ids of what they made, process ids), and where its source raised an error. */
function comparable(message: WireMessage, ids: Map<number, number>): string {
  const { type, body } = message;
  if (type === 'T') return `T ${withoutIds(body, ids).toString('latin1')}`;
  if (type === 'A') return `A ${body.toString('latin1', 4)}`;
  if (type === 'E' || type === 'N') {
    const fields = body.toString('latin1').split('\0');
    return `${type} ${fields.filter((field) => !/^[FLR]/.test(field)).join('|')}`.replaceAll(/pg_temp_\d+/g, 'pg_temp');
  }
  return `${type} ${body.toString('latin1')}`;
}

/** Runs the steps; one line per message that came. A session that ended has `end` as its last line. */
export async function transcript(client: WireClient, steps: readonly Step[], chunk = 0): Promise<string[]> {
  const ids = new Map<number, number>();
  const lines: string[] = [];
  for (const { send, until, count } of steps) {
    if (chunk === 0) client.send(send);
    else for (let at = 0; at < send.length; at += chunk) client.send(send.subarray(at, at + chunk));
    for (let left = count ?? 1; left > 0; ) {
      const message = await client.next();
      if (message === undefined) return [...lines, 'end'];
      lines.push(comparable(message, ids));
      if (message.type === (until ?? 'Z')) left--;
    }
  }
  return lines;
}

/** The order of replies alone, for the comparison of a denial with a real error: an ErrorResponse is only an `E`. */
export async function order(client: WireClient, steps: readonly Step[]): Promise<string[]> {
  const lines: string[] = [];
  for (const { send, until, count } of steps) {
    client.send(send);
    for (let left = count ?? 1; left > 0; ) {
      const message = await client.next();
      if (message === undefined) return [...lines, 'end'];
      lines.push(message.type === 'E' ? `E ${fieldsOf(message).S}` : describeMessage(message));
      if (message.type === (until ?? 'Z')) left--;
    }
  }
  return lines;
}
