import { expect, test } from 'vitest';
import type { CompiledConnection } from '../../../policy/bundle.ts';
import { connection as base } from '../../approval/approval.fixture.ts';
import type { RequestHead } from './core/port.ts';
import { choose } from './lane.ts';
import { targetHost, targetOrigin } from './understand.ts';

const to = (
  name: string,
  host: string,
  port = 443,
  mode: 'VerifyFull' | 'Disable' = 'VerifyFull',
): CompiledConnection => ({
  ...base,
  protocol: 'HTTP',
  name,
  target: { host, port, hostKeys: [], tls: { mode } },
});

const head = (host: string): RequestHead => ({
  ...{ method: 'GET', version: '1.1', scheme: 'https', authority: host, host, path: '/', segments: [], query: [] },
  ...{ target: '/', headers: [], contentLength: undefined, hasBody: false, upgrade: undefined },
});

const chosen = (connections: readonly CompiledConnection[], host: string): string | undefined =>
  choose(connections, head(host))?.connection.name;

test('one connection behind an address serves whatever name its clients have for it', () => {
  const connections = [to('api', 'api.example.com')];
  expect(chosen(connections, 'api.example.com')).toBe('api');
  expect(chosen(connections, '127.0.0.1')).toBe('api');
  expect(chosen(connections, 'internal.example.com')).toBe('api');
});

test('of several the name chooses, and without one none serves', () => {
  const connections = [to('api', 'api.example.com'), to('pay', 'pay.example.com')];
  expect(chosen(connections, 'pay.example.com')).toBe('pay');
  expect(chosen(connections, 'gateway.example.com')).toBeUndefined();
  expect(chosen([], 'api.example.com')).toBeUndefined();
});

test('of several for one target the first serves', () => {
  expect(chosen([to('older', 'api.example.com'), to('newer', 'api.example.com')], '127.0.0.1')).toBe('older');
});

test('a target is named with its port where that is not the own one of its scheme', () => {
  expect(targetOrigin(to('api', 'api.example.com'))).toBe('https://api.example.com');
  expect(targetOrigin(to('api', 'api.example.com', 8443))).toBe('https://api.example.com:8443');
  expect(targetOrigin(to('api', 'api.example.com', 80, 'Disable'))).toBe('http://api.example.com');
  expect(targetHost(to('api', 'fd00::1', 443, 'Disable'))).toBe('[fd00::1]:443');
});
