/**
 * Our NetworkPolicies, judged by an implementation of NetworkPolicy that is not ours: cyclonus, with which network plugins are tested. Over
 * generated connections it has to say what the judge of the unit tests says, so that those do not only repeat our own misreading.
 */
import { execFile } from 'node:child_process';
import { text } from 'node:stream/consumers';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { LABELS } from '../../api/cluster.ts';
import type { AnyObject } from '../../kube/builtin.ts';
import { agentsNetworkPolicy } from '../../operator/desired/agents-network-policy.ts';
import { archiveNetworkPolicy } from '../../operator/desired/archive-network-policy.ts';
import { AGENTS_INPUTS, ARCHIVE_INPUTS, PROXY_INPUTS } from '../../operator/desired/inputs.fixture.ts';
import { podLabels } from '../../operator/desired/labels.ts';
import { type Connection, type End, passes } from '../../operator/desired/network-policy-judge.fixture.ts';
import { proxyNetworkPolicy } from '../../operator/desired/proxy-network-policy.ts';
import { describeWith } from '../support/requires.ts';
import { controlPlaneNeeds, cyclonus } from './programs.ts';

/** The verdicts of cyclonus, in the order of the connections. */
async function judged(policies: readonly AnyObject[], connections: readonly Connection[]): Promise<readonly boolean[]> {
  const end = ({ address, pod }: End) => ({
    address,
    ...(pod === undefined
      ? {}
      : {
          pod: {
            namespace: pod.namespace,
            labels: pod.labels,
            namespaceLabels: { ...pod.namespaceLabels, 'kubernetes.io/metadata.name': pod.namespace },
          },
        }),
  });
  const asked = connections.map(({ from, to, ...rest }) => ({ from: end(from), to: end(to), ...rest }));
  const child = execFile(await cyclonus(), { maxBuffer: 16 * 1024 * 1024 });
  child.stdin?.end(JSON.stringify({ policies, connections: asked }));
  const [answer, complaints] = await Promise.all([text(child.stdout!), text(child.stderr!)]);
  expect(complaints).toBe('');
  return JSON.parse(answer) as readonly boolean[];
}

const PROXY = podLabels('sallyport-proxy', 'proxy');
const ARCHIVE = podLabels('sallyport-archive', 'archive');
const BORDERS = ['192.0.2.0', '192.0.2.15', '192.0.2.16', '10.0.0.9', '10.0.0.8', '203.0.113.5', '169.254.20.10'];
const BORDERS6 = ['2001:db8::', '2001:db8:0:0:ffff::1', '2001:db8:0:1::', 'fd00::1'];

const address = fc.oneof(
  fc.constantFrom(...BORDERS, ...BORDERS6),
  fc.ipV4(),
  fc.ipV6().filter((ip) => !ip.includes('.')),
);
const pod = fc.record({
  namespace: fc.constantFrom('bots', 'bots', 'shop', 'web', 'warehouse', 'sallyport-system', 'kube-system'),
  labels: fc.oneof(
    fc.constantFrom<Readonly<Record<string, string>>>({}, PROXY, ARCHIVE, { app: 'pg' }),
    fc.constantFrom('true', 'false', 'perhaps').map((inject) => ({ [LABELS.inject]: inject })),
  ),
  namespaceLabels: fc.constantFrom<Readonly<Record<string, string>>>({}, { [LABELS.scrape]: 'true' }),
});
const end: fc.Arbitrary<End> = fc.oneof(
  { weight: 1, arbitrary: fc.record({ address }) },
  { weight: 3, arbitrary: fc.record({ address, pod }) },
);
const port = fc.oneof(
  fc.constantFrom(53, 443, 5432, 5433, 6443, 8443, 8444, 8445, 9090, PROXY_INPUTS.gatewayPorts['stock'] ?? 0, 21_234),
  fc.integer({ min: 1, max: 65_535 }),
);
const connection: fc.Arbitrary<Connection> = fc.record({
  from: end,
  to: end,
  port,
  protocol: fc.constantFrom('TCP' as const, 'TCP' as const, 'UDP' as const),
});

describeWith(controlPlaneNeeds, 'NetworkPolicies, as another implementation reads them', () => {
  beforeAll(async () => {
    await cyclonus();
  });

  describe.each([
    { locked: false, wholeNamespace: false },
    { locked: false, wholeNamespace: true },
    { locked: true, wholeNamespace: false },
    { locked: true, wholeNamespace: true },
  ])('with agents of $locked, $wholeNamespace (locked, whole namespace)', (variant) => {
    const policies = [
      agentsNetworkPolicy({ ...AGENTS_INPUTS, ...variant }),
      proxyNetworkPolicy(PROXY_INPUTS),
      archiveNetworkPolicy(ARCHIVE_INPUTS),
    ];

    test('over generated connections both say the same, and neither lets everything or nothing pass', async () => {
      const connections = fc.sample(connection, 3000);
      const theirs = await judged(policies, connections);
      const ours = connections.map((each) => passes(policies, each));
      const differing = connections.flatMap((each, index) =>
        theirs[index] === ours[index] ? [] : [{ ...each, cyclonus: theirs[index], ours: ours[index] }],
      );
      expect(differing.slice(0, 3)).toEqual([]);
      expect(theirs).toHaveLength(connections.length);
      expect(ours.filter(Boolean).length).toBeGreaterThan(100);
      expect(ours.filter((verdict) => !verdict).length).toBeGreaterThan(100);
    });

    test('no agent reaches a target but by its proxy', async () => {
      const agent: End = { address: '10.1.0.1', pod: { namespace: 'bots', labels: { [LABELS.inject]: 'true' } } };
      const proxy: End = { address: '10.1.0.2', pod: { namespace: 'shop', labels: PROXY } };
      const targets: readonly End[] = [
        { address: '192.0.2.3' },
        { address: '2001:db8::7' },
        { address: '10.0.0.9', pod: { namespace: 'warehouse', labels: { app: 'pg' } } },
      ];
      const dialled = targets.map((to): Connection => ({ from: agent, to, port: 5432, protocol: 'TCP' }));
      const tunnel: Connection = { from: agent, to: proxy, port: 8443, protocol: 'TCP' };
      expect(await judged(policies, [...dialled, tunnel])).toEqual([false, false, false, true]);
    });
  });
});
