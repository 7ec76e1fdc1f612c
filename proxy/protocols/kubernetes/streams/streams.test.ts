import { describe, expect, it } from 'vitest';
import { compileMask, planMasks } from '../../../../policy/mask-plan.ts';
import { mask } from '../../../../policy/testing/build.ts';
import { negotiate } from './negotiate.ts';
import { readStatus } from './program-status.ts';
import { forwardPorts, type ProgramQuery, programQuery, programTarget } from './query.ts';
import { createStdinRelay } from './stdin-relay.ts';
import { createSizeReader } from './terminal-size.ts';
import { whyUnmaskable } from './unmaskable.ts';

const WEBSOCKET = ['sec-websocket-version', '13', 'sec-websocket-key', 'dGhlIHNhbXBsZSBub25jZQ=='];

describe('a transport', () => {
  const ws = (kind: 'exec' | 'portforward', ...protocols: readonly string[]) =>
    negotiate(kind, {
      method: 'GET',
      upgrade: 'websocket',
      headers: [...WEBSOCKET, 'sec-websocket-protocol', protocols.join(', ')],
    });

  it('is the newest that both sides know', () => {
    expect(ws('exec', 'v5.channel.k8s.io')).toEqual({
      type: 'channels',
      protocol: 'v5.channel.k8s.io',
      readsStatus: true,
    });
    expect(ws('exec', 'v5.channel.k8s.io', 'v4.channel.k8s.io')).toMatchObject({ readsStatus: false });
    expect(ws('exec', 'v5.channel.k8s.io', 'v4.channel.k8s.io', 'channel.k8s.io')).toMatchObject({ readsStatus: true });
    expect(ws('exec', 'channel.k8s.io', 'v4.channel.k8s.io')).toMatchObject({ protocol: 'v4.channel.k8s.io' });
    expect(ws('portforward', 'SPDY/3.1+portforward.k8s.io')).toMatchObject({ type: 'tunnel' });
    expect(
      negotiate('exec', {
        method: 'POST',
        upgrade: 'spdy/3.1',
        headers: ['x-stream-protocol-version', 'v5.channel.k8s.io', 'x-stream-protocol-version', 'v4.channel.k8s.io'],
      }),
    ).toEqual({ type: 'spdy', protocol: 'v4.channel.k8s.io' });
  });

  it.each([
    ['only protocols without exit codes', ws('exec', 'channel.k8s.io', 'base64.channel.k8s.io')],
    ['a tunnel of commands', ws('exec', 'SPDY/3.1+portforward.k8s.io')],
    ['no upgrade', negotiate('exec', { method: 'GET', upgrade: undefined, headers: [] })],
    ['another upgrade', negotiate('exec', { method: 'GET', upgrade: 'h2c', headers: [] })],
    ['WebSocket by POST', negotiate('exec', { method: 'POST', upgrade: 'websocket', headers: WEBSOCKET })],
    ['WebSocket without a key', negotiate('exec', { method: 'GET', upgrade: 'websocket', headers: [] })],
  ])('is refused: %s', (_name, transport) => {
    expect(typeof transport).toBe('string');
  });
});

describe('the query of a command', () => {
  it('is written anew from what was understood', () => {
    const asked = programQuery('exec', [
      ['command', 'sh'],
      ['container', 'web'],
      ['command', 'a b&c=d'],
      ['stdin', 'TRUE'],
      ['stderr', '1'],
      ['tty', 'true'],
    ]);
    expect(asked).toEqual({
      container: 'web',
      argv: ['sh', 'a b&c=d'],
      stdin: true,
      stdout: false,
      stderr: false,
      tty: true,
    }); // prettier-ignore
    expect(programTarget('exec', 'shop', 'web-1', asked as ProgramQuery)).toBe(
      '/api/v1/namespaces/shop/pods/web-1/exec?container=web&command=sh&command=a+b%26c%3Dd&stdin=true&stdout=false&stderr=false&tty=true',
    );
  });

  it.each<[string, [string, string][]]>([
    [
      'a flag twice',
      [
        ['command', 'a'],
        ['tty', 'true'],
        ['tty', 'false'],
        ['stdout', 'true'],
      ],
    ],
    [
      'a flag that is neither',
      [
        ['command', 'a'],
        ['stdout', 'yes'],
      ],
    ],
    [
      'two containers',
      [
        ['command', 'a'],
        ['container', 'a'],
        ['container', 'b'],
        ['stdout', 'true'],
      ],
    ],
    [
      'what is not known',
      [
        ['command', 'a'],
        ['stdout', 'true'],
        ['as', 'root'],
      ],
    ],
    ['no command', [['stdout', 'true']]],
    ['no stream', [['command', 'a']]],
  ])('is refused: %s', (_name, query) => {
    expect(typeof programQuery('exec', query)).toBe('string');
  });

  it('of a port-forward names ports', () => {
    expect(
      forwardPorts([
        ['ports', '80,443'],
        ['ports', '8080'],
      ]),
    ).toEqual([80, 443, 8080]); // prettier-ignore
    for (const ports of ['0', '65536', '080', '', 'x']) expect(typeof forwardPorts([['ports', ports]])).toBe('string');
  });
});

it('the end of a command has its exit status, or the reason why there is none', () => {
  const exited = {
    status: 'Failure',
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: '3' }] },
  };
  const of = (value: unknown) => readStatus(Buffer.from(JSON.stringify(value)));
  expect(of({ status: 'Success' })).toMatchObject({ exit: 0 });
  expect(of(exited)).toMatchObject({ exit: 3 });
  expect(of({ status: 'Failure', reason: 'InternalError', message: 'no' })).toEqual({
    exit: undefined,
    reason: 'InternalError',
    message: 'no',
  }); // prettier-ignore
  expect(readStatus(Buffer.from('{"status":'))).toBeUndefined();
});

it('sizes of a terminal are read however they are cut', () => {
  const read = createSizeReader();
  expect(read(Buffer.from('{"Width":80,"Hei'))).toEqual([]);
  expect(read(Buffer.from('ght":24}\n{"Width":100,"Height":40}\n'))).toEqual([
    { columns: 80, rows: 24 },
    { columns: 100, rows: 40 },
  ]);
});

describe('under masks', () => {
  const masks = planMasks([compileMask(mask('pii', { content: [{ detectors: ['Email'] }] }))]);
  const asked = (more: Partial<ProgramQuery> = {}): ProgramQuery => ({
    ...{ container: '', argv: ['cat'], stdin: false, stdout: true, stderr: true, tty: false },
    ...more,
  });

  it('a program that prints may run, and what cannot be looked into may not', () => {
    expect(whyUnmaskable('exec', asked(), masks)).toBeUndefined();
    expect(whyUnmaskable('exec', asked({ stdin: true }), masks)).toBeUndefined();
    expect(whyUnmaskable('attach', asked(), masks)).toBeUndefined();
    expect(whyUnmaskable('exec', asked({ stdin: true, tty: true }), masks)).toContain('shop/pii');
    expect(whyUnmaskable('attach', asked({ stdin: true }), masks)).toContain('shop/pii');
    expect(whyUnmaskable('portforward', undefined, masks)).toContain('forwarded port');
    expect(whyUnmaskable('exec', asked({ argv: ['echo', `sptok_${'a2'.repeat(13)}`] }), masks)).toContain('mask token');
    expect(whyUnmaskable('portforward', undefined, planMasks([]))).toBeUndefined();
  });
});

describe('input of a command that waits', () => {
  function upstream() {
    const sent: string[] = [];
    return {
      sent,
      to: {
        stdin: (bytes: Buffer) => void sent.push(bytes.toString()),
        stdinEnd: () => void sent.push('end'),
        resize: ({ columns, rows }: { columns: number; rows: number }) => void sent.push(`${columns}x${rows}`),
        close: () => undefined,
      },
    };
  }

  it('is kept, with its end and the last size, until there is somebody to take it', () => {
    const seen: string[] = [];
    const relay = createStdinRelay({ stdin: (bytes) => void seen.push(bytes.toString()), resized: () => undefined });
    relay.resize({ columns: 80, rows: 24 });
    relay.resize({ columns: 100, rows: 40 });
    relay.stdin(Buffer.from('hello'));
    relay.end();
    relay.stdin(Buffer.from('after the end'));
    const { sent, to } = upstream();
    relay.connect(to);
    expect([sent, seen]).toEqual([['100x40', 'hello', 'end'], ['hello']]);
  });

  it('is bounded: its client is not read any more', async () => {
    const relay = createStdinRelay({ stdin: () => undefined, resized: () => undefined });
    expect(relay.stdin(Buffer.alloc(200_000))).toBeUndefined();
    const waits = relay.stdin(Buffer.alloc(200_000));
    expect(waits).toBeInstanceOf(Promise);
    relay.connect(upstream().to);
    await waits;
  });
});
