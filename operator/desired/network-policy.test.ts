import { describe, expect, test } from 'vitest';
import { agentsNetworkPolicy } from './agents-network-policy.ts';
import { AGENTS_INPUTS, PROXY_INPUTS } from './inputs.fixture.ts';
import { allows, type End, isSelected, specOf } from './network-policy-judge.fixture.ts';
import { proxyNetworkPolicy } from './proxy-network-policy.ts';

const PROXY = { 'app.kubernetes.io/name': 'sallyport-proxy', 'app.kubernetes.io/component': 'proxy' };
const ENDS: Readonly<Record<string, End>> = {
  'a declared target': { address: '192.0.2.3' },
  'a declared target of version 6': { address: '2001:db8::7' },
  'a resolved target that is a pod': { address: '10.0.0.9', pod: { namespace: 'warehouse', labels: { app: 'pg' } } },
  'the internet': { address: '198.51.100.1' },
  'a pod elsewhere': { address: '10.0.0.20', pod: { namespace: 'web', labels: {} } },
  'its proxy': { address: '10.0.0.30', pod: { namespace: 'shop', labels: PROXY } },
};

describe.each([true, false])('agents, where address ranges are about pods: %s', (addressesOfPods) => {
  const may = (locked: boolean, end: string, port: number): boolean =>
    allows(
      specOf(agentsNetworkPolicy({ ...AGENTS_INPUTS, locked })).egress ?? [],
      ENDS[end] as End,
      port,
      'bots',
      addressesOfPods,
    );

  test.each([
    ['a declared target', 5432, false],
    ['a declared target', 443, false],
    ['a declared target of version 6', 5432, false],
    ['a resolved target that is a pod', 5432, false],
    ['the internet', 443, true],
    ['a pod elsewhere', 8080, true],
    ['its proxy', 8443, true],
  ])('%s on port %i: %s', (end, port, allowed) => {
    expect(may(false, end, port)).toBe(allowed);
  });

  test.each(Object.keys(ENDS))('locked: %s', (end) => {
    expect(may(true, end, end === 'its proxy' ? 8443 : 443)).toBe(end === 'its proxy');
  });
});

test('agents are the pods with the label, or all but those that opt out', () => {
  const selects = (wholeNamespace: boolean, labels: Record<string, string>): boolean =>
    isSelected(specOf(agentsNetworkPolicy({ ...AGENTS_INPUTS, wholeNamespace })).podSelector, labels);
  const [wanting, plain, refusing] = [{ 'sallyport.dev/inject': 'true' }, {}, { 'sallyport.dev/inject': 'false' }];
  expect([wanting, plain, refusing].map((labels) => selects(false, labels))).toEqual([true, false, false]);
  expect([wanting, plain, refusing].map((labels) => selects(true, labels))).toEqual([true, true, false]);
});

describe('the proxies of a namespace', () => {
  const spec = specOf(proxyNetworkPolicy(PROXY_INPUTS));

  test.each([
    ['a declared target on its port', { address: '192.0.2.3' }, 5432, true],
    ['a declared target on another', { address: '192.0.2.3' }, 22, false],
    ['another address on the port of a declared target', { address: '198.51.100.1' }, 5432, false],
    ['the API server', { address: '203.0.113.5' }, 6443, true],
    ['an API of other people on its port', { address: '198.51.100.33' }, 443, true],
    ['the API server of another cluster', { address: '198.51.100.64' }, 6443, true],
    ['where tokens for an API come from', { address: '198.51.100.1' }, 9443, true],
    ['the internet', { address: '198.51.100.1' }, 443, false],
    [
      'pods beside the Service of the API server',
      { address: '10.0.0.9', pod: { namespace: 'default', labels: {} } },
      80,
      false,
    ],
    ['a target known by name', { address: '198.51.100.1' }, 5433, true],
    [
      'pods of the namespace of a Service',
      { address: '10.0.0.9', pod: { namespace: 'warehouse', labels: {} } },
      6000,
      true,
    ],
  ])('may reach %s: port %#', (_what, end, port, allowed) => {
    expect(allows(spec.egress ?? [], end as End, port, 'shop', true)).toBe(allowed);
  });

  test.each([
    ['bots', 8443, true],
    ['web', 8443, false],
    ['bots', PROXY_INPUTS.gatewayPorts['stock'] ?? 0, false],
    ['shop', PROXY_INPUTS.gatewayPorts['stock'] ?? 0, true],
    ['bots', 9090, false],
    ['sallyport-system', 9090, true],
  ])('a pod of %s on port %i: %s', (namespace, port, allowed) => {
    const from = { address: '10.0.0.20', pod: { namespace, labels: {} } };
    expect(allows(spec.ingress ?? [], from, port, 'shop', true)).toBe(allowed);
  });
});
