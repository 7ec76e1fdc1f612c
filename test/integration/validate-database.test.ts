import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CliIo } from '../../cli/io.ts';
import { runProgram } from '../../cli/program.ts';
import { type Postgres, startPostgres } from '../support/postgres.ts';

let server: Postgres & AsyncDisposable;
let folder: string;
beforeAll(async () => {
  server = await startPostgres({ version: 15 });
  await server.sql('CREATE TABLE customers (id int, email text, ssn text)');
  folder = await mkdtemp(join(tmpdir(), 'sallyport-validate-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await server[Symbol.asyncDispose]();
});

async function validate(port: number, password: string): Promise<string> {
  await writeFile(
    join(folder, 'a.yaml'),
    `apiVersion: sallyport.dev/v1alpha1
kind: AccessConnection
metadata: {name: orders}
spec:
  protocol: Postgres
  target: {host: 127.0.0.1, port: ${port}, database: postgres, tls: {mode: Disable}}
  credential: {secretRef: {name: db}}
---
apiVersion: v1
kind: Secret
metadata: {name: db}
stringData: {username: postgres, password: ${JSON.stringify(password)}}
---
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: pii}
spec:
  connections: {all: true}
  columns:
    - match: ["public.customers.email", "public.customer.ssn", "*.*.ss?"]
`,
  );
  let out = '';
  const io: CliIo = {
    stdout: { write: (text) => (out += text) },
    stderr: { write: (text) => (out += text) },
    env: {},
    cwd: folder,
    pid: process.pid,
    arguments: ['validate', '-f', '.', '--database', '--state', folder],
    isTTY: false,
    signal: new AbortController().signal,
    onHangup: () => {},
    setExitCode: () => {},
  };
  await runProgram(io);
  return out;
}

test('masking patterns are compared with the columns of the real database', async () => {
  const out = await validate(server.port, server.password);
  expect(out).toContain(
    'a.yaml:20:41: warning: MaskingRule default/pii: public.customer.ssn matches no column, so it masks nothing [SPC041]',
  );
  expect(out).toContain('*.*.ss? matches no column');
  expect(out).toContain('0 error(s), 2 warning(s)');
});

test('a wrong password and a database that is down are told, without the password', async () => {
  const refused = await validate(server.port, 'hunter2-is-wrong');
  expect(refused).toContain('warning: the database of default/orders cannot be asked for its columns');
  expect(refused).not.toContain('hunter2');
  expect(await validate(1, server.password)).toContain('[SPC040]');
});
