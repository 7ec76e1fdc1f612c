/** The node: Debian's containerd and runc, our kubelet, kube-proxy and CoreDNS. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, watch } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Start } from './api-server.ts';
import type { Layout } from './components.ts';
import type { ControlPlane } from './control-plane.ts';
import { PAUSE_IMAGE, pauseImage } from './images.ts';
import { type ClusterNetwork, NODE_ADDRESS } from './network.ts';
import { containerdConfig, corefile, kubeletConfig, kubeProxyConfig, podNetwork } from './node-config.ts';
import { coredns } from './programs.ts';
import { nodeVolumes } from './volumes.ts';

const run = promisify(execFile);

export const NODE_NAME = 'node1';

export interface NodeSurroundings extends Pick<ControlPlane, 'clientAs' | 'kubectl' | 'exec'> {
  readonly layout: Layout;
  readonly network: ClusterNetwork;
  readonly start: Start;
}

export interface RunningNode {
  loadImage(archive: string): Promise<void>;
}

const containerdSocket = (folder: string): string => path.join(folder, 'containerd.sock');

/** Imports an image archive into the node of the cluster in the folder. */
export async function importImage(folder: string, archive: string): Promise<void> {
  await run('ctr', ['--address', containerdSocket(folder), '--namespace', 'k8s.io', 'images', 'import', archive]);
}

/** The kubelet's own cgroup in every hierarchy, so that two kubelets do not take each other's pods for orphans. */
async function createCgroups(name: string): Promise<void> {
  const root = '/sys/fs/cgroup';
  if (existsSync(path.join(root, 'cgroup.controllers'))) {
    await mkdir(path.join(root, name), { recursive: true });
    return;
  }
  // Version 1: one tree for each controller, of which some are links to others.
  for (const controller of await readdir(root)) {
    const folder = path.join(root, controller, name);
    if (!existsSync(path.join(root, controller, 'cgroup.procs')) || existsSync(folder)) continue;
    await mkdir(folder);
    if (controller !== 'cpuset') continue;
    // A cpuset begins empty, and nothing can run in it.
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      await writeFile(path.join(folder, file), await readFile(path.join(root, controller, file)));
    }
  }
}

/** Resolves once the file is there. */
async function appears(file: string, signal: AbortSignal): Promise<void> {
  const changes = watch(path.dirname(file), { signal });
  while (!existsSync(file)) await once(changes, 'change', { signal });
  changes.close();
}

/** Starts the node's parts and waits until the API server calls it ready. */
export async function startNode(surroundings: NodeSurroundings): Promise<RunningNode> {
  const { layout, network, start, clientAs, kubectl } = surroundings;
  const { folder, kubecore, pki } = layout;
  const file = (name: string): string => path.join(folder, name);
  const [kubelet, kubeletUser, proxyUser, dnsUser, dns, pauseArchive] = await Promise.all([
    pki.issue('kubelet', { name: 'kubelet', hosts: [`DNS:${NODE_NAME}`, `IP:${NODE_ADDRESS}`] }),
    clientAs(`system:node:${NODE_NAME}`, ['system:nodes']),
    clientAs('system:kube-proxy'),
    clientAs('system:dns', ['system:masters']),
    coredns(),
    pauseImage(),
    createCgroups(network.name),
    mkdir(file('cni')),
  ]);
  await Promise.all([
    writeFile(file('containerd.toml'), containerdConfig(folder, PAUSE_IMAGE)),
    writeFile(file('cni/10-pods.conflist'), podNetwork(folder, network.name)),
    writeFile(
      file('kubelet.json'),
      kubeletConfig({ folder, cgroupRoot: network.name, ca: pki.ca.certificate, serving: kubelet }),
    ),
    writeFile(file('kube-proxy.json'), kubeProxyConfig(proxyUser, NODE_NAME)),
    writeFile(file('Corefile'), corefile(dnsUser)),
  ]);
  const socket = containerdSocket(folder);
  await start({ name: 'containerd', command: ['containerd', '--config', file('containerd.toml')] });
  await start({ name: 'kube-proxy', command: [kubecore, 'kube-proxy', '--config', file('kube-proxy.json')] });
  await start({ name: 'coredns', command: [dns, '-conf', file('Corefile')] });
  await appears(socket, AbortSignal.timeout(30_000));
  const loadImage = (archive: string): Promise<void> => importImage(folder, archive);
  await loadImage(pauseArchive);
  await start({
    name: 'kubelet',
    command: [
      ...[kubecore, 'kubelet', '--config', file('kubelet.json'), '--kubeconfig', kubeletUser],
      ...['--root-dir', file('kubelet'), '--hostname-override', NODE_NAME, '--node-ip', NODE_ADDRESS],
    ],
  });
  await kubectl(['wait', '--for=create', '--timeout=60s', `node/${NODE_NAME}`]);
  await kubectl(['wait', '--for=condition=Ready', '--timeout=60s', `node/${NODE_NAME}`]);
  await kubectl(['apply', '--server-side', '-f', '-'], { input: await nodeVolumes(folder, NODE_NAME) });
  return { loadImage };
}
