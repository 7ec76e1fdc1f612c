/** The node itself: pods of the real kubelet find each other, and what runs beside them, by name. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { type ControlPlane, nodeNeeds, startControlPlane } from '../cluster/control-plane.ts';
import { AGENT_IMAGE, agentImage, imageNeeds } from '../cluster/images.ts';
import { startProgram } from '../support/program.ts';
import { describeWith } from '../support/requires.ts';

const manifests = (...objects: readonly object[]): string => objects.map((object) => stringify(object)).join('---\n');

/** A web server of one answer. */
const SERVER = `require('node:http').createServer((_, answer) => answer.end('from the node')).listen(8080, process.argv[1], () => console.log('listening'))`;

describeWith([...nodeNeeds, ...imageNeeds], 'the node of tests', () => {
  let cluster!: ControlPlane & AsyncDisposable;
  beforeAll(async () => {
    cluster = await startControlPlane({ node: true });
    await cluster.loadImage(await agentImage());
  }, 1_200_000);
  afterAll(() => cluster?.stop());

  test('runs pods, which reach services by name, and shows their output', async () => {
    const [program, parameters] = cluster.inside(process.execPath, ['-e', SERVER, cluster.nodeAddress as string]);
    await using server = startProgram(program, parameters);
    await server.printed('listening');
    await cluster.apply(
      manifests(
        {
          apiVersion: 'v1',
          kind: 'Service',
          metadata: { name: 'web', namespace: 'default' },
          spec: { ports: [{ port: 80, targetPort: 8080 }] },
        },
        {
          apiVersion: 'discovery.k8s.io/v1',
          kind: 'EndpointSlice',
          metadata: { name: 'web', namespace: 'default', labels: { 'kubernetes.io/service-name': 'web' } },
          addressType: 'IPv4',
          ports: [{ port: 8080 }],
          endpoints: [{ addresses: [cluster.nodeAddress] }],
        },
        {
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: { name: 'agent', namespace: 'default' },
          spec: {
            terminationGracePeriodSeconds: 0,
            containers: [
              {
                name: 'agent',
                image: AGENT_IMAGE,
                command: ['sh', '-c', 'echo from the pod; exec sleep infinity'],
              },
            ],
          },
        },
      ),
    );
    await cluster.kubectl(['wait', '--for=condition=Ready', '--timeout=60s', 'pod/agent']);
    // A Service leads to its pod a moment after the pod is ready.
    const curl = [
      'curl',
      '--silent',
      '--retry',
      '60',
      '--retry-delay',
      '1',
      '--retry-connrefused',
      'http://web.default.svc',
    ];
    expect(await cluster.kubectl(['exec', 'agent', '--', ...curl])).toBe('from the node');
    expect(await cluster.kubectl(['exec', 'agent', '--', 'psql', '--version'])).toMatch(/^psql/);
    expect(await cluster.kubectl(['logs', 'agent'])).toBe('from the pod\n');
  });

  test('leaves nothing behind', async () => {
    const other = await startControlPlane({ node: true });
    const name = path.basename(other.folder);
    await other.stop();
    expect(existsSync(other.folder)).toBe(false);
    expect(existsSync(`/run/netns/${name}`)).toBe(false);
    expect(await readFile('/proc/self/mounts', 'utf8')).not.toContain(other.folder);
    // The other node goes on.
    expect(await cluster.kubectl(['exec', 'agent', '--', 'true'])).toBe('');
  });
});
