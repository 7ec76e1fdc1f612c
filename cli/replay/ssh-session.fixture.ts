/** A session of SSH with everything in it that is shown: two programs at once, a terminal, a forward, files. */
import type { RecordedEvent } from '../../record/format.ts';
import type { SessionSummary } from '../../record/sessions.ts';
import { HOSTILE } from './session.fixture.ts';

const rule = 'shop/ops/service@2';
const T0 = Date.parse('2026-03-01T10:11:12Z');

type Members = Readonly<Record<string, unknown>>;

const received = (seq: number, text: string, more: Members = {}): Members => ({
  e: 'command.received',
  seq,
  text,
  verdict: 'Allow',
  rules: [rule],
  channel: 0,
  operation: 'Exec',
  user: 'deploy',
  ...more,
});

const who = { username: 'system:serviceaccount:shop:ops-agent' };

/** Milliseconds since the start, and the event's members. */
const SCRIPT: readonly (readonly [number, Members])[] = [
  [
    0,
    {
      e: 'session.start',
      who,
      protocol: 'SSH',
      client: '10.0.0.7:4711',
      application: `OpenSSH_9.9 ${HOSTILE}`,
      user: 'deploy',
      mode: 'Enforce',
    },
  ],
  [1, { e: 'session.authenticated', who, method: 'password', groups: ['system:serviceaccounts'] }],
  [
    2,
    { e: 'credential.issued', type: 'ssh certificate', username: 'deploy', reference: 'AccessConnection shop/web-1' },
  ],
  [100, received(1, 'journalctl -u shop -n 2; id', { argv: [['journalctl', '-u', 'shop', '-n', '2'], ['id']] })],
  [
    160,
    {
      e: 'command.executed',
      seq: 1,
      channel: 0,
      exit: 0,
      bytes: 60,
      stdout: { bytes: 40 },
      stderr: { bytes: 20 },
      us: 58_000,
      masked: { Email: 1 },
      parts: [
        [0.01, 'o', 'order 17 of ***\n'],
        [0.02, 'e', 'hint: 1 line left out\n'],
        [0.001, 'o', `\u001b[1muid\u001b[0m=1000(deploy) ${HOSTILE}\n50%\r100%\nno line end`],
      ],
    },
  ],
  [
    1_000,
    received(2, '', {
      operation: 'Shell',
      terminal: { type: 'xterm-256color', columns: 80, rows: 24 },
      text: 'shell',
      channel: 1,
    }),
  ],
  [
    1_400,
    {
      e: 'output.chunk',
      seq: 2,
      channel: 1,
      parts: [
        [0.1, 'o', '$ \u001b]0;owned\u0007'],
        [0.2, 'o', 'top\r\n\u001b[?1049h\u001b[2J\u001b[H'],
      ],
    },
  ],
  [
    1_500,
    received(3, 'tar c /srv | wc -c', {
      channel: 2,
      argv: [
        ['tar', 'c', '/srv'],
        ['wc', '-c'],
      ],
    }),
  ],
  [1_600, { e: 'output.chunk', seq: 3, channel: 2, parts: [[0.05, 'o', { base64: 'AAEC/w==' }]] }],
  [
    2_400,
    {
      e: 'output.chunk',
      seq: 2,
      channel: 1,
      parts: [
        [0.9, 'r', '132x50'],
        [0.1, 'o', 'load 0.42\u001b[6n'],
        [0, 'x', 'passed over'],
      ],
    },
  ],
  [
    2_500,
    {
      e: 'command.executed',
      seq: 3,
      channel: 2,
      exit: 1,
      bytes: 2_000_000,
      stdin: { bytes: 70, sha256: 'ab'.repeat(32) },
      stdout: { bytes: 2_000_000, recorded: 65_536, sha256: 'cd'.repeat(32) },
      stderr: { bytes: 0 },
      us: 1_000_000,
    },
  ],
  [
    3_000,
    {
      e: 'command.executed',
      seq: 2,
      channel: 1,
      exit: 3,
      stdin: { bytes: 12 },
      stdout: { bytes: 60 },
      bytes: 60,
      us: 2_000_000,
      parts: [[0.3, 'o', '\u001b[?1049l$ exit\r\n']],
    },
  ],
  [3_100, received(4, 'sleep 60', { channel: 3 })],
  [3_200, { e: 'command.failed', seq: 4, channel: 3, signal: 'TERM', bytes: 0, us: 100_000 }],
  [3_300, received(5, `rm -rf /srv ${HOSTILE}`, { verdict: 'Deny', rules: ['shop/ops/no-removal@2'], channel: 4 })],
  [
    3_300,
    { e: 'command.denied', seq: 5, code: 'SPS001', message: 'denied: rm -rf /srv', rules: ['shop/ops/no-removal@2'] },
  ],
  [3_400, received(6, 'forward to db:5432', { operation: 'LocalForward', destination: 'db:5432', channel: 5 })],
  [3_900, { e: 'command.executed', seq: 6, channel: 5, bytes: 900, bytesIn: 120, us: 500_000 }],
  [
    4_000,
    {
      e: 'file.operation',
      seq: 7,
      channel: 6,
      operation: 'open',
      user: 'deploy',
      accesses: [{ access: 'ReadFile', path: '/var/log/app.log' }],
      verdict: 'Allow',
      rules: [rule],
    },
  ],
  [4_100, { e: 'file.closed', seq: 7, bytesRead: 4096, sha256: 'ef'.repeat(32), us: 90_000, masked: { Email: 2 } }],
  [
    4_200,
    {
      e: 'file.operation',
      seq: 8,
      channel: 6,
      operation: 'remove',
      user: 'deploy',
      accesses: [{ access: 'WriteFile', path: '/srv/gone' }],
      detail: 'as written ../gone',
      verdict: 'Allow',
      rules: [rule],
    },
  ],
  [4_210, { e: 'file.closed', seq: 8, status: 2 }],
  [
    4_300,
    {
      e: 'file.denied',
      seq: 9,
      channel: 6,
      operation: 'open',
      user: 'deploy',
      accesses: [{ access: 'ReadFile', path: '/etc/shadow' }],
      verdict: 'Deny',
      rules: [],
      code: 'SPS001',
      message: 'denied: ReadFile of /etc/shadow',
    },
  ],
  [5_000, { e: 'session.end', reason: 'client closed', commands: 9, denied: 2 }],
];

export const SSH_SESSION = '01JZ6T3N8R';

export const SSH_EVENTS: readonly RecordedEvent[] = SCRIPT.map(([milliseconds, members], index) => ({
  v: 1,
  n: index + 1,
  t: `${new Date(T0 + milliseconds).toISOString().slice(0, -1)}000Z`,
  e: 'unknown',
  session: SSH_SESSION,
  ...members,
}));

export const SSH_SUMMARY: SessionSummary = {
  session: SSH_SESSION,
  connection: 'shop/web-1',
  who: who.username,
  client: '10.0.0.7:4711',
  application: 'OpenSSH_9.9',
  protocol: 'SSH',
  user: 'deploy',
  start: '2026-03-01T10:11:12.000000Z',
  end: '2026-03-01T10:11:17.000000Z',
  durationMs: 5_000,
  commands: 9,
  denied: 2,
  failed: 1,
  state: 'ended',
  reason: 'client closed',
};
