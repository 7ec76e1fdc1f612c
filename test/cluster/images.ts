/** Images without a registry and without Docker. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder } from '../support/cache.ts';
import { pause } from './programs.ts';

const run = promisify(execFile);

export const PAUSE_IMAGE = 'localhost/pause:1';
const imageCache = path.join(cacheFolder, 'images');

/** An image of one layer with one program, as an archive in OCI's image layout (image-spec, image-layout.md). */
async function imageOfProgram(program: string, name: string, archive: string): Promise<void> {
  await mkdir(imageCache, { recursive: true });
  const work = await mkdtemp(path.join(imageCache, 'making-'));
  try {
    const root = path.join(work, 'root');
    const blobs = path.join(work, 'layout', 'blobs', 'sha256');
    await mkdir(root);
    await mkdir(blobs, { recursive: true });
    await copyFile(program, path.join(root, 'program'));
    await chmod(path.join(root, 'program'), 0o755);
    const layer = path.join(work, 'layer.tar');
    await run('tar', ['--create', '--numeric-owner', '--owner=0', '--group=0', '--file', layer, '-C', root, '.']);
    const blob = async (mediaType: string, content: Buffer) => {
      const hex = createHash('sha256').update(content).digest('hex');
      await writeFile(path.join(blobs, hex), content);
      return { mediaType, digest: `sha256:${hex}`, size: content.length };
    };
    const document = (type: string, value: object) => blob(type, Buffer.from(JSON.stringify(value)));
    const layerBlob = await blob('application/vnd.oci.image.layer.v1.tar', await readFile(layer));
    const config = await document('application/vnd.oci.image.config.v1+json', {
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config: { Entrypoint: ['/program'] },
      rootfs: { type: 'layers', diff_ids: [layerBlob.digest] },
    });
    const manifest = await document('application/vnd.oci.image.manifest.v1+json', {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config,
      layers: [layerBlob],
    });
    const annotations = { 'org.opencontainers.image.ref.name': name };
    const layout = path.join(work, 'layout');
    await writeFile(path.join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    await writeFile(
      path.join(layout, 'index.json'),
      JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
    );
    await run('tar', ['--create', '--file', path.join(work, 'image.tar'), '-C', layout, '.']);
    await rename(path.join(work, 'image.tar'), archive);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Archive of the image that holds a pod's namespaces open. */
export async function pauseImage(): Promise<string> {
  const program = await pause();
  const archive = path.join(imageCache, `${path.basename(program)}.tar`);
  await imageOfProgram(program, PAUSE_IMAGE, archive);
  return archive;
}
