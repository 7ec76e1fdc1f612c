import { expect, it } from 'vitest';
import { analyseExec } from '../../../../policy/ssh/exec.ts';
import { context, hold } from '../../../../policy/testing/build.ts';
import { allowExec, sshScope } from '../../../../policy/testing/ssh.ts';
import type { AuditLevel } from '../../../../record/events.ts';
import { createContentDetectors } from '../../../masking/detectors.ts';
import { sshError } from '../errors.ts';
import { present } from './present.ts';
import { createSessionRecord } from './record.ts';
import { createVerdict } from './verdict.ts';

/** What of a command's words reaches approvers and the record. */

const judged = (line: string) => {
  const command = analyseExec(line, { loginUser: 'deploy' });
  const rules = [allowExec('all', ['mail **']), hold('ask', { ssh: { operations: ['Exec'] } })];
  return createVerdict(command, sshScope(rules).decide(command, context()));
};

it.each(['mail ana@example.com', `mail ${'x'.repeat(190)} ana@example.com`, "mail 'for ana@example.com only'"])(
  'approvers read no value that is masked: %s',
  (line) => {
    const content = createContentDetectors(
      [{ source: { detector: 'Email' }, transform: { type: 'redact', with: '***' }, rule: 'shop/pii' }],
      () => undefined,
    );
    const shown = present(judged(line), { environment: new Map([['LC_ALL', 'x']]), terminal: undefined }, content);
    expect(JSON.stringify(shown)).not.toContain('ana@');
    expect(shown.effects).toEqual(['Exec of mail with values that are masked']);
    expect(present(judged('mail root'), { environment: new Map(), terminal: undefined }, content).effects).toEqual([
      'Exec of mail root',
    ]);
  },
);

it.each<[AuditLevel, boolean]>([
  ['Metadata', false],
  ['Commands', true],
])('a denial at %s quotes the command only where its text is recorded', (level, quoted) => {
  const lines: string[] = [];
  const stream = {
    append: (event: string, members: string) => lines.push(`${event} ${members}`),
    flush: () => undefined,
    sync: async () => undefined,
  };
  const record = createSessionRecord(stream, 's', { level, maxResponseBytes: 0, retentionDays: 1 });
  const verdict = judged('login --password=hunter2');
  record.denied(
    1,
    verdict.command.text,
    verdict,
    { channel: 0, operation: 'Exec', user: 'deploy' },
    verdict.denial ?? sshError('SPS009'),
    false,
  );
  expect(lines.length).toBe(2);
  expect(lines.some((line) => line.includes('hunter2'))).toBe(quoted);
  expect(lines[1]).toContain('"code":"SPS001"');
});

it('a denied file counts among the denials of its session, as a denied command does', () => {
  const lines: string[] = [];
  const stream = {
    append: (event: string) => lines.push(event),
    flush: () => undefined,
    sync: async () => undefined,
  };
  const record = createSessionRecord(stream, 's', { level: 'Commands', maxResponseBytes: 0, retentionDays: 1 });
  record.fileDenied('"session":"s"');
  expect([lines, record.denials]).toEqual([['file.denied'], 1]);
});
