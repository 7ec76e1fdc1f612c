/** Writes images without any program for images. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** What a container is started with (image-spec, config.md). */
export interface ImageConfig {
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Env?: readonly string[];
  readonly User?: string;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

/**
 * Writes an archive of OCI's image layout (image-spec, image-layout.md) with one image of one layer.
 * @param layer tar file, moved away
 */
export async function writeImage(layer: string, name: string, config: ImageConfig, archive: string): Promise<void> {
  const layout = await mkdtemp(`${archive}.layout-`);
  try {
    const blobs = path.join(layout, 'blobs', 'sha256');
    await mkdir(blobs, { recursive: true });
    const layerHex = await digestOf(layer);
    const { size } = await stat(layer);
    await rename(layer, path.join(blobs, layerHex));
    const document = async (type: string, value: object): Promise<Descriptor> => {
      const content = Buffer.from(JSON.stringify(value));
      const hex = createHash('sha256').update(content).digest('hex');
      await writeFile(path.join(blobs, hex), content);
      return { mediaType: `application/vnd.oci.image.${type}.v1+json`, digest: `sha256:${hex}`, size: content.length };
    };
    const described = await document('config', {
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config,
      rootfs: { type: 'layers', diff_ids: [`sha256:${layerHex}`] },
    });
    const manifest = await document('manifest', {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: described,
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: `sha256:${layerHex}`, size }],
    });
    const annotations = { 'org.opencontainers.image.ref.name': name };
    await writeFile(path.join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    await writeFile(
      path.join(layout, 'index.json'),
      JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
    );
    // Two tests may make it at once: each has a file of its own until it is whole.
    const part = `${layout}.part`;
    await run('tar', ['--create', '--file', part, '-C', layout, '.']);
    await rename(part, archive);
  } finally {
    await rm(layout, { recursive: true, force: true });
  }
}
