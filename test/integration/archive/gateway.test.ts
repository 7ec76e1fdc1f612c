import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { freePort, startProgram } from '../../support/program.ts';
import { startSallyport } from '../../support/sallyport.ts';
import { segmentBytes } from '../../support/segments.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'gateway-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const RESOURCES = `
apiVersion: sallyport.dev/v1alpha1
kind: AccessConnection
metadata: {name: orders}
spec:
  protocol: Postgres
  target: {host: 127.0.0.1, port: 9, database: orders}
  credential: {secretRef: {name: orders-db}}
`;

/** Somebody without a token: refused, and that is in the record. */
async function knock(port: number): Promise<void> {
  const client = new pg.Client({ host: '127.0.0.1', port, user: 'agent', password: 'nonsense', database: 'orders' });
  await expect(client.connect()).rejects.toThrow();
}

it.each([1, 2])(
  'a gateway with %i worker(s) keeps a second record in a folder and posts it, signed',
  async (workers) => {
    const [state, second] = [path.join(folder, 'state'), path.join(folder, 'second')];
    const secret = `whsec_${randomBytes(32).toString('base64')}`;
    const port = await freePort();
    await writeFile(path.join(folder, 'orders.yaml'), RESOURCES);
    await writeFile(path.join(folder, 'secret'), secret);
    const configuration = path.join(folder, 'configuration.yaml');
    await writeFile(
      configuration,
      JSON.stringify({
        apiVersion: 'sallyport.dev/v1alpha1',
        kind: 'SallyportConfiguration',
        archive: { directory: second },
        sinks: [{ name: 'own', webhook: { url: `http://127.0.0.1:${port}/`, secretFile: 'secret' } }],
      }),
    );
    await using receiver = startProgram(process.execPath, [
      path.join(import.meta.dirname, '..', 'webhooks', 'receiver.ts'),
      ...[String(port), secret],
    ]);
    await receiver.printed('listening');
    await using gateway = await startSallyport({
      resources: [path.join(folder, 'orders.yaml')],
      state,
      listen: ['default/orders=127.0.0.1:0'],
      workers,
      parameters: ['-c', configuration],
    });
    await knock(gateway.connection('orders').port);
    const copied = async (): Promise<string> =>
      [...(await segmentBytes(path.join(second, 'record'))).values()].join('');
    await vi.waitFor(async () => expect(await copied()).toContain('session.refused'), {
      timeout: 20_000,
      interval: 20,
    });
    await vi.waitFor(() => expect(receiver.output()).toContain('session.refused'), { timeout: 20_000, interval: 20 });
    const metrics = await (await fetch(gateway.metrics ?? '')).text();
    expect(metrics).toContain('sallyport_sink_delivered_bytes_total{sink="archive"}');
    expect(metrics).toContain('sallyport_refused_total');
    expect(await gateway.stop()).toBe(0);
    // What came last, the end of the recorder, went out too.
    const source = await segmentBytes(path.join(state, 'record'));
    expect(await segmentBytes(path.join(second, 'record'))).toEqual(source);
    const posted = receiver
      .output()
      .split('\n')
      .filter((line) => line.startsWith('{"verified"'))
      .map((line) => JSON.parse(line) as { verified: boolean; type: string; body: string });
    expect(posted.every(({ verified, type }) => verified && type === 'application/jsonl')).toBe(true);
    const lines = (text: string): string[] => text.trimEnd().split('\n').sort();
    expect(lines(posted.map(({ body }) => body).join(''))).toEqual(lines([...source.values()].join('')));
    expect(gateway.output()).not.toContain(secret.slice(6));
    expect(await readFile(path.join(folder, 'secret'), 'utf8')).toBe(secret);
  },
  60_000,
);
