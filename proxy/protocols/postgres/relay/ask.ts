import * as encode from '../wire/encode.ts';
import { Reply } from './replies.ts';
import type { LaneSession } from './session-state.ts';

/** A name of our own, so that the client's unnamed statement and portal are left alone. */
const NAME = 'sallyport_internal';

function replies(session: LaneSession, statement: string, settle: (value: string, ok: boolean) => void): Buffer {
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
  return Buffer.concat([
    encode.parse(NAME, statement),
    encode.bind(NAME, NAME),
    encode.execute(NAME),
    encode.close('P', NAME),
    encode.close('S', NAME),
  ]);
}

/**
 * Has the session itself run statements of the gateway's, such as SHOW; none of the answers reaches the client. Inside a pipeline it
 * ends with Flush, so that the implicit transaction stays the client's. Resolves with the first value of each.
 * @throws when the server refuses one
 */
export function askServer(session: LaneSession, statements: readonly string[]): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const values: string[] = [];
    const messages = statements.map((statement, index) =>
      replies(session, statement, (value, ok) => {
        values[index] = value;
        if (!ok) reject(new Error(`the target refused ${statement}`));
        else if (index === statements.length - 1) resolve(values);
      }),
    );
    if (session.inBatch) messages.push(encode.flush());
    else {
      const end = new Reply('sync');
      end.swallow = true;
      session.replies.push(end);
      messages.push(encode.sync());
    }
    session.send(Buffer.concat(messages));
  });
}
