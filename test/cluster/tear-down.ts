/** Ends a cluster and removes what it left, knowing nothing but its folder: whoever started it may be dead. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { glob, readdir, readFile, readlink, rm, rmdir, stat, unlink } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { networkName } from './network.ts';
import { identify, isAlive, killAndWait, type ProcessIdentity, recordedComponents } from './processes.ts';

const run = promisify(execFile);

export const CLUSTER_PREFIX = 'sallyport-cluster-';
/** A folder that has no owner yet is being made, unless it is older than this. */
const UNOWNED_MS = 60_000;

/** Processes whose command line holds the text. */
async function processesWith(text: string): Promise<ProcessIdentity[]> {
  const found: ProcessIdentity[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    // It may end while it is looked at.
    const command = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
    if (!command.includes(text)) continue;
    const identity = await identify(Number(name));
    if (identity !== undefined) found.push(identity);
  }
  return found;
}

/** Containers outlive containerd; runc knows them. */
async function removeContainers(folder: string): Promise<void> {
  const runcRoot = path.join(folder, 'runc', 'k8s.io');
  if (!existsSync(runcRoot)) return;
  for (const id of await readdir(runcRoot)) await run('runc', ['--root', runcRoot, 'delete', '--force', id]);
  for (const shim of await processesWith(path.join(folder, 'containerd.sock'))) await killAndWait(shim);
}

async function unmountBelow(folder: string): Promise<void> {
  const mounts = (await readFile('/proc/self/mounts', 'utf8'))
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((mount) => mount.startsWith(`${folder}/`));
  // Later ones may lie on earlier ones. Lazily: a process that is just ending may still hold one.
  for (const mount of mounts.reverse()) await run('umount', ['--lazy', mount]);
}

async function removeNetwork(name: string): Promise<void> {
  if (!existsSync(`/run/netns/${name}`)) return;
  const { stdout } = await run('ip', ['netns', 'pids', name]);
  for (const pid of stdout.split('\n').filter((line) => line !== '')) {
    const identity = await identify(Number(pid));
    if (identity !== undefined) await killAndWait(identity);
  }
  await run('ip', ['netns', 'delete', name]);
}

/** Folders of the cgroup hierarchies are removed from the leaves up. */
async function removeCgroups(name: string): Promise<void> {
  const removeTree = async (folder: string): Promise<void> => {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) await removeTree(path.join(folder, entry.name));
    }
    await rmdir(folder);
  };
  for (const folder of [`/sys/fs/cgroup/${name}`]) if (existsSync(folder)) await removeTree(folder);
  for await (const folder of glob(`/sys/fs/cgroup/*/${name}`)) if (existsSync(folder)) await removeTree(folder);
}

/** What CNI and kubelet write outside of the folders that they are given. */
async function removeTraces(folder: string, name: string): Promise<void> {
  for await (const file of glob(`/var/lib/cni/results/${name}-*`)) await rm(file, { force: true });
  for await (const link of glob('/var/log/containers/*')) {
    if ((await readlink(link).catch(() => '')).startsWith(`${folder}/`)) await unlink(link);
  }
}

/** Ends everything of the cluster in the folder, which is removed. Safe to repeat, and at any stage of a start or of another tear-down. */
export async function tearDown(folder: string): Promise<void> {
  const name = networkName(folder);
  const components = await recordedComponents(folder);
  // The kubelet first: it would start again what is removed behind its back.
  const kubelet = components.get('kubelet');
  if (kubelet !== undefined) await killAndWait(kubelet);
  await Promise.all([...components.values()].map(killAndWait));
  await removeContainers(folder);
  await removeNetwork(name);
  await unmountBelow(folder);
  await removeCgroups(name);
  await removeTraces(folder, name);
  await rm(folder, { recursive: true, force: true });
}

/** Whether whoever started the cluster is still there, or it was made to stay. */
async function isOwned(folder: string): Promise<boolean> {
  let owner: string;
  try {
    owner = await readFile(path.join(folder, 'owner'), 'utf8');
  } catch {
    const made = await stat(folder).catch(() => undefined);
    return made !== undefined && Date.now() - made.mtimeMs < UNOWNED_MS;
  }
  if (owner === 'kept' || owner === '') return true;
  return isAlive(JSON.parse(owner) as ProcessIdentity);
}

/** Folders of all clusters of this machine. */
export async function clusterFolders(): Promise<string[]> {
  const names = await readdir(os.tmpdir());
  return names.filter((name) => name.startsWith(CLUSTER_PREFIX)).map((name) => path.join(os.tmpdir(), name));
}

/** Tears down what runners that were killed have left. */
export async function sweep(): Promise<void> {
  for (const folder of await clusterFolders()) {
    if (await isOwned(folder)) continue;
    // Of another user: theirs to sweep.
    if ((await stat(folder).catch(() => undefined))?.uid !== process.getuid?.()) continue;
    await tearDown(folder);
  }
}
