/** A record of many sessions, as the gateway writes it. */
import { stat } from 'node:fs/promises';
import type { Decision } from '../policy/decision.ts';
import {
  commandDenied,
  commandExecuted,
  commandReceived,
  credentialEvent,
  receivedFragment,
  sessionAuthenticated,
  sessionEnd,
  sessionFragment,
  sessionStart,
} from '../record/events.ts';
import type { RecordStream } from '../record/port.ts';
import { listSegments } from '../record/segment.ts';

const connection = { namespace: 'shop', name: 'db', uid: 'u', protocol: 'Postgres', mode: 'Enforce' } as const;
const read = { namespace: 'shop', policy: 'readers', rule: 'read', generation: 3 };
const noDeletes = { namespace: 'shop', policy: 'writers', rule: 'no-deletes', generation: 1 };
const decision = (verdict: 'Allow' | 'Deny', rule: typeof read): Decision => ({
  verdict,
  tuples: [],
  rules: [rule],
  requirements: [],
  limits: {},
  reuse: 'text',
});
const plain = (text: string): string => text;
/** Three rows of an account: what a small query returns. */
const data = Buffer.alloc(180, 7).toString('base64');

/**
 * Sessions `session-1`, … of subjects `ci:agent-0` to `ci:agent-99`. Every tenth has a denied DELETE as its last command; the texts of
 * every thousandth contain `needle`.
 */
export function recordSessions(stream: RecordStream, sessions: number, commands: number): void {
  for (let i = 1; i <= sessions; i++) {
    const id = `session-${i}`;
    const session = sessionFragment(id);
    const subject = { username: `ci:agent-${i % 100}`, issuer: 'ci', groups: ['ci:agents'], claims: {} };
    stream.append(
      'session.start',
      sessionStart({ session: id, connection, client: '10.0.0.7:4711', application: 'bench', bundle: 'b', subject }),
    );
    stream.append(
      'session.authenticated',
      sessionAuthenticated({ session: id, subject, method: 'password', tokenId: 't', sessionExpiresAt: new Date(0) }),
    );
    const credential = { type: 'postgres', username: 'app', reference: 'AccessConnection shop/db' };
    stream.append('credential.used', credentialEvent(session, credential));
    let denied = 0;
    for (let seq = 1; seq <= commands; seq++) {
      const deletes = seq === commands && i % 10 === 0;
      const mark = i % 1000 === 0 ? ' /* needle */' : '';
      const text = deletes ? `DELETE FROM orders WHERE id = ${i}` : `SELECT * FROM accounts WHERE id = ${seq}${mark}`;
      const verdict = deletes ? decision('Deny', noDeletes) : decision('Allow', read);
      stream.append('command.received', commandReceived(session, seq, receivedFragment(text, verdict, 'Full', plain)));
      if (deletes) {
        denied++;
        stream.append(
          'command.denied',
          commandDenied(session, seq, { code: 'SPG001', message: 'no', rules: [noDeletes] }),
        );
        continue;
      }
      stream.append(
        'result.chunk',
        `${session},"seq":${seq},"encoding":"postgres-messages+base64","offset":0,"data":"${data}","bytes":180`,
      );
      stream.append('command.executed', commandExecuted(session, seq, { rows: 3, bytes: 180, durationMicros: 420 }));
    }
    stream.append('session.end', sessionEnd({ session: id, reason: 'client closed', commands, denied }));
    stream.flush();
  }
}

/** Bytes of all segments. */
export async function recordSize(root: string): Promise<number> {
  let bytes = 0;
  for (const { path } of await listSegments(root)) bytes += (await stat(path)).size;
  return bytes;
}
