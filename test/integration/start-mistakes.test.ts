/** What goes wrong at the start ends the process, with the reason and what to do: nothing hangs, nothing is said without a code. */
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectionYaml } from '../support/allow-everything.ts';
import { type CliResult, sallyport, startSallyport } from '../support/sallyport.ts';

let folder: string;
let taken: net.Server;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-start-'));
  const target = { port: 1, database: 'one', username: 'app', password: 'secret' };
  const connections = [connectionYaml('one', target), connectionYaml('two', { ...target, database: 'two' })];
  await writeFile(path.join(folder, 'connections.yaml'), connections.join('---\n'), { mode: 0o600 });
  taken = net.createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
});
afterAll(async () => {
  taken.close();
  await rm(folder, { recursive: true });
});

const takenAddress = (): string => `127.0.0.1:${(taken.address() as net.AddressInfo).port}`;
const run = (...parameters: string[]): Promise<CliResult> =>
  sallyport(['run', '-f', folder, '--state', path.join(folder, 'state'), ...parameters]);

describe.each(['1', '2'])('with %s worker(s)', (workers) => {
  test('a port in use, behind another that is open already', async () => {
    const listen = ['--listen', 'default/one=127.0.0.1:0', '--listen', `default/two=${takenAddress()}`];
    const { status, stderr } = await run(...listen, '--workers', workers);
    expect(status).toBe(1);
    const words = `SPC002: ${takenAddress()} cannot be listened on: something listens there already`;
    expect(stderr.split(words)).toHaveLength(2);
    expect(stderr).toContain('or give another: --listen');
  });

  test('an address for a connection that does not exist', async () => {
    const { status, stderr } = await run('--listen', 'default/three=127.0.0.1:0', '--workers', workers);
    expect(status).toBe(1);
    expect(stderr).toContain('SPC003: no AccessConnection default/three');
  });
});

test('an address that is none is wrong usage', async () => {
  const { status, stderr } = await run('--listen', 'default/one=6432');
  expect(status).toBe(2);
  expect(stderr).toContain('Write HOST:PORT');
});

test('a credential that is missing is told at the start, not first to a client', async () => {
  const without = path.join(folder, 'without');
  await using gateway = await startSallyport({
    resources: [path.join(import.meta.dirname, '../../examples/quickstart.yaml')],
    state: without,
    listen: ['default/orders=127.0.0.1:0'],
  });
  await expect.poll(() => gateway.output()).toMatch(/SPA008.*the Secret default\/orders-db is not there/);
});
