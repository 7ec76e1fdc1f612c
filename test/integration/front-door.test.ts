/** The commands that people and CI start with. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { repositoryRoot } from '../support/sallyport.ts';

interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(program: string, parameters: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Result> {
  return new Promise((resolve) => {
    const options = { cwd: repositoryRoot, env: { ...process.env, ...environment } };
    execFile(program, parameters, options, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

test('make alone lists the targets', async () => {
  const { status, stdout } = await run('make', ['--no-print-directory']);
  expect(status).toBe(0);
  for (const target of ['build', 'test', 'lint', 'fuzz', 'bench', 'demo'])
    expect(stdout).toMatch(new RegExp(`make ${target} +\\S`));
});

describe('the last line of a test run', () => {
  async function lastLine(
    source: string,
    environment: NodeJS.ProcessEnv = {},
  ): Promise<{ status: number; line: string; before: string }> {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-summary-'));
    try {
      await writeFile(path.join(folder, 'sample.test.ts'), source);
      const vitest = path.join(repositoryRoot, 'node_modules', 'vitest', 'vitest.mjs');
      const config = path.join(folder, 'vitest.config.ts');
      const reporter = path.join(repositoryRoot, 'scripts', 'summary-reporter.ts');
      const alias = JSON.stringify({ vitest: path.join(repositoryRoot, 'node_modules', 'vitest') });
      await writeFile(
        config,
        `import summaryReporter from ${JSON.stringify(reporter)};
export default { resolve: { alias: ${alias} }, test: { include: ['**/*.test.ts'], reporters: ['default', summaryReporter()] } };\n`,
      );
      const { status, stdout } = await run(process.execPath, [vitest, 'run', '--root', folder, '--config', config], {
        ...environment,
        VITEST: undefined,
      });
      const [before = '', line = ''] = stdout.trimEnd().split('\n').slice(-2);
      return { status, line, before };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  test('counts what passed and what was skipped', async () => {
    const source = `import { describe, test } from 'vitest';
      test('a', () => {}); test('b', () => {});
      describe.skip('needs something', () => { test('c', () => {}); });`;
    expect(await lastLine(source)).toMatchObject({ status: 0, line: '2 passed, 0 failed, 1 skipped' });
  });

  test('counts a failure, and the status says so', async () => {
    const source = `import { test } from 'vitest';
      test('a', () => {}); test('b', () => { throw new Error('no'); });`;
    expect(await lastLine(source)).toMatchObject({ status: 1, line: '1 passed, 1 failed, 0 skipped' });
  });

  test('names what passed only when it was tried again', async () => {
    const source = `import { test } from 'vitest';
      let tries = 0;
      test('late', { retry: 1 }, () => { if (++tries < 2) throw new Error('not yet'); });`;
    expect(await lastLine(source)).toEqual({
      status: 0,
      before: 'passed when tried again: sample.test.ts > late',
      line: '1 passed, 0 failed, 0 skipped',
    });
  });

  test('counts a file that does not load', async () => {
    const { status, line } = await lastLine(`throw new Error('broken');`);
    expect([status, line]).toEqual([1, '0 passed, 1 failed, 0 skipped']);
  });

  test('counts an error outside of any test', async () => {
    const source = `import { test } from 'vitest';
      test('a', () => { setImmediate(() => { throw new Error('late'); }); return new Promise((done) => setTimeout(done, 50)); });`;
    expect(await lastLine(source)).toMatchObject({ status: 1, line: '1 passed, 1 failed, 0 skipped' });
  });
});

describe('a test that needs something which is not there', () => {
  const source = (root: string): string => `import { test } from 'vitest';
    import { describeWith, program } from ${JSON.stringify(path.join(root, 'test', 'support', 'requires.ts'))};
    describeWith([program('no-such-program', 'no-such-package')], 'parts', () => { test('a', () => {}); test('b', () => {}); });`;

  async function runSample(environment: NodeJS.ProcessEnv): Promise<Result> {
    const folder = await mkdtemp(path.join(repositoryRoot, 'test', 'integration', '.requires-'));
    try {
      await writeFile(path.join(folder, 'sample.test.ts'), source(repositoryRoot));
      const vitest = path.join(repositoryRoot, 'node_modules', 'vitest', 'vitest.mjs');
      return await run(process.execPath, [vitest, 'run', path.basename(folder)], { ...environment, VITEST: undefined });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  test('is skipped by name and counted', async () => {
    const { status, stdout } = await runSample({ CI: '' });
    expect(status).toBe(0);
    expect(stdout).toMatch(/0 passed, 0 failed, 2 skipped\n$/);
  });

  test('fails with CI=true, and says what to install', async () => {
    const { status, stdout, stderr } = await runSample({ CI: 'true' });
    expect(status).toBe(1);
    expect(stdout + stderr).toContain('apt-get install no-such-package');
    expect(stdout).toMatch(/0 passed, 1 failed, 0 skipped\n$/);
  });
});
