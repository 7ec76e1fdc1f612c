/** Images without a registry and without Docker: the project's own from its Dockerfiles, and what tests put beside them. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, glob, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { cached, cacheFolder } from '../support/cache.ts';
import { type Need, program } from '../support/requires.ts';
import { repositoryRoot } from '../support/sallyport.ts';
import { type ImageConfig, writeImage } from './oci.ts';
import { pause } from './programs.ts';

const folder = path.join(cacheFolder, 'images');
const DEBIAN = 'bookworm';

export const imageNeeds: readonly Need[] = [program('buildah'), program('mmdebstrap')];

export const PAUSE_IMAGE = 'localhost/pause:1';
/** Operator, proxy, archive, command line. */
export const SALLYPORT_IMAGE = 'localhost/sallyport:test';
export const CONNECTOR_IMAGE = 'localhost/sallyport-connector:test';
/** What an agent may have: psql, ssh, curl and a shell. Holds servers of PostgreSQL and SSH too, for clusters that have no other. */
export const AGENT_IMAGE = 'localhost/agent:test';
/** Debian's numbers for the user postgres where there is nothing else. */
export const SHOP_IMAGE = { name: AGENT_IMAGE, user: 100, group: 103 } as const;

/** A Debian of these packages, as a tar file of its root. */
async function debian(name: string, packages: readonly string[]): Promise<string> {
  await mkdir(folder, { recursive: true });
  const key = createHash('sha256')
    .update([DEBIAN, ...packages].join(' '))
    .digest('hex')
    .slice(0, 16);
  const parameters = ['--variant=minbase', '--mode=root', '--format=tar', `--include=${packages.join(',')}`];
  // Pages of manuals and translations are most of the files.
  const lean = ['man', 'locale', 'info'].map((part) => `--dpkgopt=path-exclude=/usr/share/${part}/*`);
  return cached(path.join(folder, `${name}-${key}.tar`), [
    ...['mmdebstrap', '--quiet', ...parameters, ...lean, DEBIAN, '$OUT/program'],
  ]);
}

/** The archive of an image whose only layer is this tar file. */
async function imageOf(layer: string, name: string, config: ImageConfig): Promise<string> {
  const archive = layer.replace(/[.]tar$/, '.image');
  if (existsSync(archive)) return archive;
  const work = await mkdtemp(path.join(folder, 'layer-'));
  try {
    const copy = path.join(work, 'layer.tar');
    await copyFile(layer, copy);
    await writeImage(copy, name, config, archive);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return archive;
}

/** Archive of the image that holds a pod's namespaces open. */
export async function pauseImage(): Promise<string> {
  const built = await pause();
  await mkdir(folder, { recursive: true });
  const layer = path.join(folder, `${path.basename(built)}.tar`);
  const name = path.basename(built);
  await cached(layer, [
    ...['tar', '--create', '--numeric-owner', '--owner=0', '--group=0', '--file', '$OUT/program'],
    ...['-C', path.dirname(built), `--transform=s/${name}/pause/`, name],
  ]);
  return imageOf(layer, PAUSE_IMAGE, { Entrypoint: ['/pause'] });
}

/** Archive of the agent's image. */
export async function agentImage(): Promise<string> {
  const layer = await debian('agent', ['ca-certificates', 'curl', 'openssh-client', 'openssh-server', 'postgresql']);
  const programs = '/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin';
  return imageOf(layer, AGENT_IMAGE, { Env: [`PATH=${programs}`], Cmd: ['sleep', 'infinity'] });
}

/** Of everything that goes into an image. */
async function keyOf(patterns: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  const files: string[] = [];
  for await (const entry of glob(patterns, { cwd: repositoryRoot, withFileTypes: true })) {
    if (entry.isFile()) files.push(path.join(entry.parentPath, entry.name));
  }
  for (const file of files.sort()) hash.update(path.relative(repositoryRoot, file)).update(await readFile(file));
  return hash.digest('hex').slice(0, 16);
}

/** Builds in a store of its own, which leaves nothing on the machine; RUN lines run in a plain chroot, with the network of the machine. */
const BUILD = `
store="--root $OUT/store --runroot $OUT/run --storage-driver vfs"
buildah $store build --quiet --isolation chroot --build-arg BASE=oci-archive:"$1" --file "$2" --tag "$3" .
buildah $store push --quiet "$3" oci-archive:"$OUT/program":"$3"
`;

async function built(dockerfile: string, name: string, sources: readonly string[]): Promise<string> {
  if (!existsSync(path.join(repositoryRoot, 'dist', 'cli', 'main.js'))) throw new Error('run `make build` first');
  const base = await debian('base', ['ca-certificates', 'libatomic1', 'libstdc++6']);
  const baseArchive = await imageOf(base, 'localhost/debian:bookworm', {});
  const key = await keyOf([dockerfile, 'package.json', 'scripts/image-root.sh', ...sources]);
  const kind = path.basename(name).replace(/:.*/, '');
  const archive = path.join(folder, `${kind}-${key}.image`);
  if (existsSync(archive)) return archive;
  await cached(archive, ['sh', '-euc', BUILD, 'build', baseArchive, dockerfile, name], {
    cwd: repositoryRoot,
    environment: { OUT: '$OUT', BUILDAH_ISOLATION: 'chroot', TMPDIR: '$OUT' },
  });
  // Each change of a source makes another of more than a hundred megabytes.
  for await (const old of glob(`${kind}-????????????????.image`, { cwd: folder })) {
    if (path.join(folder, old) !== archive) await rm(path.join(folder, old), { force: true });
  }
  return archive;
}

/** Archive of the product's image, from its Dockerfile. Needs `make build`. */
export const sallyportImage = (): Promise<string> =>
  built('Dockerfile', SALLYPORT_IMAGE, ['package-lock.json', 'scripts/production-packages.ts', 'crds/**', 'dist/**']);

/** Archive of the connector's image. Needs `make build`. */
export const connectorImage = (): Promise<string> =>
  built('Dockerfile.connector', CONNECTOR_IMAGE, ['LICENSE', 'dist/proxy/connector/**', 'dist/api/*.js']);

/** Archives of all that a cluster needs. One after the other: each keeps a processor busy. */
export async function allImages(): Promise<readonly string[]> {
  return [await agentImage(), await sallyportImage(), await connectorImage()];
}
