/** `make demo` is the first thing that people run. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { expect, test } from 'vitest';
import { describeWith, postgresServer, program } from '../support/requires.ts';
import { repositoryRoot } from '../support/sallyport.ts';

const main = path.join(repositoryRoot, 'demo', 'main.ts');

describeWith(
  [postgresServer(15), program('pg_dump', 'postgresql-client'), program('psql', 'postgresql-client')],
  'the demonstration',
  () => {
    test('without a terminal: every step comes out as said, and the status is 0', async () => {
      const { status, output } = await new Promise<{ status: unknown; output: string }>((resolve) => {
        execFile(process.execPath, [main], { cwd: repositoryRoot, timeout: 120_000 }, (error, stdout, stderr) =>
          resolve({ status: error === null ? 0 : error.code, output: stdout + stderr }),
        );
      });
      expect(output).toContain('Every step came out as said.');
      expect(status).toBe(0);
    }, 150_000);

    test('on a terminal: stays up, its psql lines work as pasted, and Ctrl-C ends it', async () => {
      // script(1) gives the program a terminal. Without exec a shell may stand between the two, and Ctrl-C ends that one too.
      const child = spawn('script', ['-qec', `exec '${process.execPath}' '${main}'`, '/dev/null'], {
        cwd: repositoryRoot,
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      const closed = once(child, 'close');
      let output = '';
      await new Promise<void>((resolve, reject) => {
        child.stdout.setEncoding('utf8').on('data', (text: string) => {
          output += text;
          if (output.includes('Ctrl-C ends it')) resolve();
        });
        closed.then(() => reject(new Error(`the demonstration ended:\n${output}`)), reject);
      });
      const lines = output.split(/\r?\n/).filter((line) => line.includes('token create --as'));
      expect(lines).toHaveLength(2);
      for (const [line, answer] of [
        [lines[0]!, 'ERROR'],
        [lines[1]!, 'exported the customer list'],
      ] as const) {
        const printed = await new Promise<string>((resolve) => {
          const command = `${line.trim()} -c 'SELECT what FROM audit.events' 2>&1`;
          execFile('/bin/sh', ['-c', command], { cwd: repositoryRoot }, (_error, stdout) => resolve(stdout));
        });
        expect(printed).toContain(answer);
      }
      child.stdin.write('\x03');
      const [status] = await closed;
      expect(status).toBe(0);
    }, 150_000);
  },
);
