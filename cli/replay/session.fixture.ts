/** A session with everything in it that is shown: fixed, so that what is made of it can be compared word for word. */
import type { RecordedEvent } from '../../record/format.ts';
import { copyData, dataRow } from '../../record/replay/rows.fixture.ts';
import type { SessionSummary } from '../../record/sessions.ts';

/** Text that tries to act on whatever shows it. */
export const HOSTILE = `\u001b]0;owned\u0007\u001b[2J\u202etxt.exe\u202c</script><img src=x onerror=alert(1)>\u0000'"&`;

const rule = 'shop/agents/read@3';
const T0 = Date.parse('2026-03-01T10:11:12Z');

type Members = Readonly<Record<string, unknown>>;

function chunk(seq: number, parts: readonly Buffer[], more: Members = {}): Members {
  const data = Buffer.concat(parts);
  return {
    e: 'result.chunk',
    seq,
    encoding: 'postgres-messages+base64',
    offset: 0,
    data: data.toString('base64'),
    bytes: data.length,
    ...more,
  };
}

const received = (seq: number, text: string, more: Members = {}): Members => ({
  e: 'command.received',
  seq,
  text,
  verdict: 'Allow',
  rules: [rule],
  ...more,
});

const who = {
  username: 'system:serviceaccount:shop:agent',
  serviceAccount: { namespace: 'shop', name: 'agent' },
  onBehalfOf: 'ada@example.org',
};

/** Milliseconds since the start, and the event's members. */
const SCRIPT: readonly (readonly [number, Members])[] = [
  [
    0,
    {
      e: 'session.start',
      who,
      client: '10.0.0.7:4711',
      application: `psql ${HOSTILE}`,
      database: 'app',
      mode: 'Enforce',
    },
  ],
  [1, { e: 'session.authenticated', who, method: 'password', groups: ['okta:dba', 'okta:ops'] }],
  [2, { e: 'credential.used', type: 'postgres', username: 'app', reference: 'AccessConnection shop/orders' }],
  [
    1_250,
    received(
      1,
      'SELECT id, email, total, note FROM customers JOIN orders USING (id) WHERE total > 10 AND note IS NULL ORDER BY id',
      { masks: ['shop/pii'] },
    ),
  ],
  [
    1_253,
    chunk(
      1,
      [
        dataRow('1', '***', '99.50', null),
        dataRow('2', '***', '12.00', ''),
        dataRow('3', null, '100', `日本 ${HOSTILE}`),
      ],
      {
        columns: [
          ['id', 23],
          ['email', 25],
          ['total', 1700],
          ['note', 25],
        ],
      },
    ),
  ],
  [1_254, { e: 'command.executed', seq: 1, rows: 3, bytes: 190, us: 3_412, masked: { 'shop/pii': 2 } }],
  [
    4_000,
    received(2, `SELECT '${HOSTILE}' -- a comment\n\t, $$dollar$$, 42`, {
      parameters: ['a\u202eb', null, { base64: 'AAEC' }, { bytes: 70_000 }],
    }),
  ],
  [4_002, { e: 'command.failed', seq: 2, sqlstate: '42601', us: 900 }],
  [6_500, received(3, 'DROP TABLE orders', { verdict: 'Deny', rules: ['shop/guard/no-drops@1'] })],
  [
    6_500,
    {
      e: 'command.denied',
      seq: 3,
      code: 'SPG001',
      denied: 'DropTable on public.orders',
      message: `ask first ${HOSTILE}`,
      rules: ['shop/guard/no-drops@1'],
    },
  ],
  [
    9_000,
    received(4, 'DELETE FROM orders WHERE id = 7', { verdict: 'RequireApproval', rules: ['shop/guard/deletes@2'] }),
  ],
  [
    9_001,
    {
      e: 'command.held',
      seq: 4,
      request: 'orders-7f3a',
      requirements: [{ rule: 'shop/guard/deletes@2', requiredApprovals: 2 }],
      approvers: ['group okta:leads'],
    },
  ],
  [
    61_000,
    {
      e: 'command.released',
      seq: 4,
      request: 'orders-7f3a',
      state: 'Consumed',
      votes: [
        { voter: 'okta:grace@example.org', at: '2026-03-01T10:11:58Z', reason: 'seen the plan' },
        { voter: `okta:${HOSTILE}`, at: '2026-03-01T10:12:12Z' },
      ],
    },
  ],
  [61_004, { e: 'command.executed', seq: 4, rows: 1, bytes: 13, us: 52_001_000 }],
  [62_000, { e: 'statement.parsed', text: 'SELECT $1::int8', verdict: 'Allow', rules: [rule] }],
  [62_001, received(5, 'SELECT $1::int8', { parameters: ['5'] })],
  [
    62_002,
    chunk(5, [dataRow(Buffer.from([0, 0, 0, 0, 0, 0, 0, 5]), Buffer.from([1, 2]))], {
      columns: [
        ['int8', 20],
        [HOSTILE, 600],
      ],
      formats: [1],
      prev: 'unknown members are passed over',
    }),
  ],
  [62_003, { e: 'command.executed', seq: 5, rows: 1, bytes: 30, us: 120 }],
  [63_000, received(6, 'COPY customers (id, note) TO STDOUT')],
  [63_001, chunk(6, [copyData('1\ta note\n'), copyData(`2\t${HOSTILE.replace('\u0000', '')}\n`), copyData('\n')])],
  [63_002, { e: 'command.executed', seq: 6, rows: 3, bytes: 60, us: 800 }],
  [64_000, received(7, 'SELECT * FROM big')],
  [64_001, chunk(7, [dataRow('kept'), dataRow('cut off here').subarray(0, 20)], { bytes: undefined })],
  [
    64_002,
    {
      e: 'result.chunk',
      seq: 7,
      encoding: 'postgres-messages+base64',
      bytes: 1_000_000,
      recorded: 35,
      sha256: 'ab'.repeat(32),
    },
  ],
  [64_003, { e: 'command.executed', seq: 7, rows: 20_000, bytes: 1_000_000, us: 2_100_000 }],
  [65_000, { e: 'command.received', seq: 8, verdict: 'Allow', rules: [rule], observed: 'Deny' }],
  [65_001, { e: 'command.executed', seq: 8, rows: 0, bytes: 0, us: 90 }],
  [65_500, { e: 'session.tea-break', reason: 'an event of a later version' }],
  [66_000, { e: 'session.end', reason: 'client closed', commands: 8, denied: 1 }],
];

export const SESSION = '01JZ6T3N8Q';

export const EVENTS: readonly RecordedEvent[] = SCRIPT.map(([milliseconds, members], index) => ({
  v: 1,
  n: index + 1,
  t: `${new Date(T0 + milliseconds).toISOString().slice(0, -1)}000Z`,
  e: 'unknown',
  session: SESSION,
  ...members,
}));

export const SUMMARY: SessionSummary = {
  session: SESSION,
  connection: 'shop/orders',
  who: who.username,
  onBehalfOf: who.onBehalfOf,
  client: '10.0.0.7:4711',
  application: `psql ${HOSTILE}`,
  database: 'app',
  start: '2026-03-01T10:11:12.000000Z',
  end: '2026-03-01T10:12:18.000000Z',
  durationMs: 66_000,
  commands: 8,
  denied: 1,
  failed: 1,
  state: 'ended',
  reason: 'client closed',
};
