/** `kubectl exec` in a pod of a real kubelet: by way of the API server alone, through Sallyport, and through masks. Needs root, for the node. */
import { execFile } from 'node:child_process';
import { startControlPlane } from '../test/cluster/control-plane.ts';
import { AGENT_IMAGE, agentImage } from '../test/cluster/images.ts';
import { startKubeLaneGround } from '../test/cluster/kube-lane-ground.ts';
import { kubectl } from '../test/cluster/programs.ts';
import { median } from './measure.ts';
import { cpuSeconds } from './process-usage.ts';

const quick = process.argv.includes('--quick');
const ROUNDS = quick ? 2 : 5;
/** Of one transfer; through masks it is text that is looked through. */
const MEGABYTES = quick ? 32 : 256;
const MASKED_MEGABYTES = MEGABYTES / 8;
const EXECS = quick ? 5 : 20;

const PEERS = ['direct', 'plain', 'masked'] as const;
type PeerName = (typeof PEERS)[number];

const POD = `---\n${JSON.stringify({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', namespace: 'default' },
  spec: {
    terminationGracePeriodSeconds: 0,
    containers: [{ name: 'web', image: AGENT_IMAGE, command: ['sleep', '3600'] }],
  },
})}`;

const POLICY = `
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: measured, namespace: default}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - {name: look, effect: Allow, kubernetes: {verbs: [get], resources: [pods], namespaces: [default]}}
    - name: programs
      effect: Allow
      kubernetes: {operations: [Exec], resources: [pods/exec], namespaces: [default], commands: ["true", "head **", "sh -c **"]}
---
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: people, namespace: default}
spec:
  connections: {names: [masked]}
  content: [{detectors: [Email, CreditCard, IPAddress]}]
`;

await using cleanup = new AsyncDisposableStack();
process.stderr.write('bench: kubernetes exec, a node\n');
const plane = cleanup.adopt(await startControlPlane({ node: true }), (made) => made.stop());
await plane.loadImage(await agentImage());
const program = await kubectl();
const ground = cleanup.use(
  await startKubeLaneGround({
    ...{ plane, manifests: POD, connections: { plain: '', masked: '' } },
    resources: { 'policy.yaml': POLICY },
  }),
);
await plane.kubectl(['wait', '--for=condition=Ready', '--timeout=90s', 'pod/web']);
const kubeconfigs: Record<PeerName, string> = {
  direct: plane.kubeconfig,
  plain: await ground.kubeconfig('agent', 'plain'),
  masked: await ground.kubeconfig('agent', 'masked'),
};

/** Seconds until it has ended. What it writes is thrown away by a program, as this process would cost time of its own. */
function seconds(peer: PeerName, command: readonly string[]): Promise<number> {
  const start = performance.now();
  const parameters = ['--kubeconfig', kubeconfigs[peer], 'exec', 'web', '--', ...command];
  return new Promise((resolve, reject) => {
    execFile('sh', ['-c', 'exec "$0" "$@" >/dev/null', program, ...parameters], (error) =>
      error === null ? resolve((performance.now() - start) / 1000) : reject(error),
    );
  });
}

const samples = (): Record<PeerName, number[]> => ({ direct: [], plain: [], masked: [] });
const [rates, cpu, short] = [samples(), samples(), samples()];
for (let round = 0; round < ROUNDS; round++) {
  for (const peer of PEERS) {
    process.stderr.write(`bench: kubernetes exec, ${peer}, round ${round + 1} of ${ROUNDS}\n`);
    const megabytes = peer === 'masked' ? MASKED_MEGABYTES : MEGABYTES;
    const before = cpuSeconds(ground.gateway.pid);
    // Lines, so that the masks have something to look through.
    const took = await seconds(peer, [
      'sh',
      '-c',
      `yes 2026-11-27T12:00:00Z INFO request served in 12 ms | head -c ${megabytes}000000`,
    ]);
    rates[peer].push(megabytes / took);
    cpu[peer].push(((cpuSeconds(ground.gateway.pid) - before) * 1000) / megabytes);
    for (let index = 0; index < EXECS; index++) short[peer].push((await seconds(peer, ['true'])) * 1000);
  }
}

const row = (name: string, values: Record<PeerName, number[]>, digits: number): string =>
  `| ${name} | ${PEERS.map((peer) => median(values[peer]).toFixed(digits)).join(' | ')} |`;
process.stdout.write(
  `${[
    '| | direct | Sallyport | with masking |',
    '| --- | ---: | ---: | ---: |',
    row(`kubectl exec, output, MB/s (${MEGABYTES} MB, ${MASKED_MEGABYTES} with masking)`, rates, 0),
    row('CPU of the gateway for each MB, ms', cpu, 1),
    row('kubectl exec true, ms', short, 0),
  ].join('\n')}\n`,
);
