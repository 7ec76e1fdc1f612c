import { describe, expect, test } from 'vitest';
import { createCommandViews } from '../../record/commands.ts';
import type { RecordedEvent } from '../../record/format.ts';
import { createStepReader } from '../../record/replay/steps.ts';
import { commandLines } from '../commands/sessions-format.ts';
import { createPage } from './html.ts';
import { createTextRenderer } from './text.ts';

/** What is recorded of a request whose answer came in two pieces, with a character cut in the middle. */
const answer = Buffer.from('{"name":"Zoë","note":"<b>\u001b[2J</b>"}\n');
const cut = answer.indexOf(0xc3) + 1;
const body = (from: number, to: number) => answer.subarray(from, to).toString('base64');
const EVENTS: readonly Record<string, unknown>[] = [
  { e: 'session.start', protocol: 'HTTP', who: { username: 'agent' }, client: '127.0.0.1:1' },
  {
    e: 'command.received',
    seq: 1,
    text: 'POST https://api.example.com/v1/refunds?dry=1',
    verdict: 'Allow',
    rules: ['shop/agents/refund@1'],
    method: 'POST',
    host: 'api.example.com',
    target: '/v1/refunds?dry=1',
    version: '2',
    headers: { 'content-type': 'application/json' },
    details: { lane: { words: 'refund 5', audit: { stage: 'RequestReceived', verb: 'create' } } },
  },
  {
    e: 'request.chunk',
    seq: 1,
    encoding: 'http-body+base64',
    offset: 0,
    data: Buffer.from('{"amount":5}').toString('base64'),
    contentType: 'application/json',
    bytes: 12,
  },
  { e: 'result.chunk', seq: 1, encoding: 'http-body+base64', offset: 0, data: body(0, cut) },
  { e: 'result.chunk', seq: 1, encoding: 'http-body+base64', offset: cut, data: body(cut, answer.length), bytes: 40 },
  {
    e: 'command.executed',
    seq: 1,
    status: 201,
    bytes: 40,
    requestBytes: 12,
    us: 1500,
    masked: { ssn: 2 },
    details: { lane: { audit: { stage: 'ResponseComplete' } } },
  },
  { e: 'command.received', seq: 2, text: 'GET https://api.example.com/v1/big', method: 'GET', host: 'api.example.com' },
  { e: 'result.chunk', seq: 2, encoding: 'http-body+base64', bytes: 99_999, recorded: 0, sha256: 'ab' },
  { e: 'command.failed', seq: 2, status: 200, code: 'SPE018', bytes: 99_999, requestBytes: 0, us: 10 },
  { e: 'command.executed', seq: 3, status: 204, bytes: 0, requestBytes: 0, us: 10, method: 'HEAD', host: 'x' },
];
const events = EVENTS.map(
  (event, index): RecordedEvent =>
    ({ v: 1, n: index, t: `2026-11-26T12:00:0${index}.000000Z`, session: 's1', ...event }) as unknown as RecordedEvent,
);

describe('requests over HTTP', () => {
  test('in the terminal: what was asked, what came back, nothing that acts on it', () => {
    const reader = createStepReader();
    const renderer = createTextRenderer({ colours: false, width: 100, mostRows: 10 });
    const text = events
      .flatMap((event) => reader.enter(event))
      .map((step) => renderer.render(step))
      .join('');
    expect(text).toContain('#1  HTTP/2  Allow  shop/agents/refund@1');
    expect(text).toContain('│ POST https://api.example.com/v1/refunds?dry=1');
    expect(text).toContain('│ refund 5');
    expect(text).toContain('│ content-type: application/json');
    expect(text).toContain('│ {"amount":5}');
    expect(text).toContain('status 201  12 B sent  40 B');
    expect(text).toContain('0 of 99999 bytes of the answer are recorded');
    expect(text).toMatch(/failed\s+SPE018\s+status 200/);
    expect(text).toContain('<b>\\u001b[2J</b>');
    expect(text).not.toContain('\u001b');
    // The character that lies in two pieces is whole.
    expect(text.replaceAll(/\n\s+┊ /g, '')).toContain('Zoë');
  });

  test('as a page: the same, and no markup of theirs', () => {
    const reader = createStepReader();
    const page = createPage({ mostRows: 10, maxPauseMicros: 1_000_000 });
    const html = events
      .flatMap((event) => reader.enter(event))
      .map((step) => page.step(step))
      .join('');
    expect(html).toContain('POST https://api.example.com/v1/refunds?dry=1');
    expect(html).toContain('&lt;b&gt;\\u001b[2J&lt;/b&gt;');
    expect(html).toContain('refund 5');
    expect(html).toContain('status 201');
    expect(html).not.toContain('<b>');
  });

  test('in the list of commands: a status is one of HTTP there', () => {
    const views = createCommandViews();
    const done = events.flatMap((event) => views.enter(event) ?? []);
    const [first = '', second = ''] = done.map(commandLines);
    expect(first).toMatch(/#1 .*executed\s+by Allow shop\/agents\/refund@1\s+status 201\s+12 B sent\s+40 B/);
    expect(first).toContain('POST https://api.example.com/v1/refunds?dry=1');
    expect(first).toContain('\n    refund 5\n');
    expect(done[0]?.details).toEqual({
      lane: { words: 'refund 5', audit: { stage: 'ResponseComplete', verb: 'create' } },
    });
    expect(second).toMatch(/failed.*SPE018\s+status 200/);
  });
});
