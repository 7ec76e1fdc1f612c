import * as encode from '../wire/encode.ts';
import { Reply } from './replies.ts';
import type { LaneSession } from './session-state.ts';

/** A name of our own, so that the client's unnamed statement and portal are left alone. */
const NAME = 'sallyport_internal';

function expectReplies(session: LaneSession, settle: (value: string, ok: boolean) => void): void {
  let value = '';
  for (const kind of ['parse', 'bind', 'execute', 'close', 'close'] as const) {
    const reply = new Reply(kind);
    reply.swallow = true;
    reply.name = NAME;
    if (kind === 'execute') {
      reply.collect = (first) => {
        value = first;
      };
      reply.settled = (ok) => settle(value, ok);
    }
    session.replies.push(reply);
  }
}

/** Of lists that are asked again and again, by the list itself. */
const messages = new WeakMap<readonly string[], Buffer>();

function messagesFor(statements: readonly string[]): Buffer {
  const known = messages.get(statements);
  if (known !== undefined) return known;
  const made = Buffer.concat(
    statements.flatMap((statement) => [
      encode.parse(NAME, statement),
      encode.bind(NAME, NAME),
      encode.execute(NAME),
      encode.close('P', NAME),
      encode.close('S', NAME),
    ]),
  );
  messages.set(statements, made);
  return made;
}

/**
 * Has the session itself run statements of the gateway's, such as SHOW; none of the answers reaches the client. Inside a pipeline it
 * ends with Flush, so that the implicit transaction stays the client's. Resolves with the first value of each.
 * @throws when the server refuses one
 */
export function askServer(session: LaneSession, statements: readonly string[]): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const values: string[] = [];
    for (const [index, statement] of statements.entries()) {
      expectReplies(session, (value, ok) => {
        values[index] = value;
        if (!ok) reject(new Error(`the target refused ${statement}`));
        else if (index === statements.length - 1) resolve(values);
      });
    }
    let end = encode.flush();
    if (!session.inBatch) {
      const reply = new Reply('sync');
      reply.swallow = true;
      session.replies.push(reply);
      end = encode.sync();
    }
    session.send(Buffer.concat([messagesFor(statements), end]));
  });
}
