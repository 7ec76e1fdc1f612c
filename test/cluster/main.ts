/**
 * A cluster for a person, and what `make test` prepares while its first tests run.
 *
 *   main.ts up        starts one that stays, or finds it, and loads the images of this working tree
 *   main.ts down      ends it
 *   main.ts prepare   builds programs and images that are not in the cache yet
 */
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { cacheFolder } from '../support/cache.ts';
import { goProgram, versitygw } from '../support/go-programs.ts';
import { missing } from '../support/requires.ts';
import { repositoryRoot } from '../support/sallyport.ts';
import { nodeNeeds, startControlPlane } from './control-plane.ts';
import { allImages, imageNeeds } from './images.ts';
import { importImage } from './node.ts';
import { isAlive, recordedComponents } from './processes.ts';
import { controlPlaneNeeds, coredns, cyclonus, helm, kubecore, kubectl, pause } from './programs.ts';
import { tearDown } from './tear-down.ts';

const kubeconfig = path.join(cacheFolder, 'cluster.kubeconfig');
/** Holds the folder of the cluster that stays. */
const pointer = path.join(cacheFolder, 'cluster');

/** The folder of the cluster that runs, or undefined. */
async function running(): Promise<string | undefined> {
  const folder = await readFile(pointer, 'utf8').catch(() => undefined);
  if (folder === undefined) return undefined;
  const kubelet = (await recordedComponents(folder)).get('kubelet');
  return kubelet !== undefined && (await isAlive(kubelet)) ? folder : undefined;
}

async function start(): Promise<string> {
  const { folder, kubeconfig: made } = await startControlPlane({ node: true, kept: true });
  await mkdir(cacheFolder, { recursive: true });
  await copyFile(made, kubeconfig);
  await writeFile(pointer, folder);
  return folder;
}

async function up(): Promise<void> {
  const lacking = missing([...nodeNeeds, ...imageNeeds]);
  if (lacking !== undefined)
    throw new Error(`a cluster needs ${lacking}; any other will do for the demo: set KUBECONFIG`);
  const folder = (await running()) ?? (await start());
  for (const archive of await allImages()) await importImage(folder, archive);
  const program = path.relative(repositoryRoot, await kubectl());
  console.log(`
A cluster runs, with the images of this working tree:

  export KUBECONFIG=${kubeconfig}
  export PATH=${path.dirname(await kubectl())}:$PATH
  kubectl get nodes

  make demo-cluster    installs Sallyport there and shows it
  make cluster         again, after a change: builds and loads the images
  make cluster-down    ends it

kubectl is ${program}; logs are in ${folder}/log.`);
}

async function down(): Promise<void> {
  const folder = await readFile(pointer, 'utf8').catch(() => undefined);
  if (folder !== undefined) await tearDown(folder);
  for (const file of [pointer, kubeconfig]) await rm(file, { force: true });
}

/** What can be built here. Compilers keep processors busy, packages the network: one of each goes at a time. */
async function prepare(): Promise<void> {
  if (missing(controlPlaneNeeds) !== undefined) return;
  const kubernetes = async (): Promise<void> => {
    for (const program of [kubecore, coredns, pause, cyclonus]) await program();
  };
  const others = async (): Promise<void> => {
    for (const program of [kubectl, helm]) await program();
    if (missing([...nodeNeeds, ...imageNeeds]) === undefined) await allImages();
    await versitygw();
    await goProgram(path.join(repositoryRoot, 'test', 'integration', 'sinks', 'otelcol'));
  };
  await Promise.all([kubernetes(), others()]);
}

const [command] = process.argv.slice(2);
switch (command) {
  case 'up':
    await up();
    break;
  case 'down':
    await down();
    break;
  case 'prepare':
    await prepare();
    break;
  default:
    console.error('usage: main.ts up | down | prepare');
    process.exitCode = 2;
}
