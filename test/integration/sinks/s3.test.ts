import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { AwsClient } from 'aws4fetch';
import { beforeAll, expect, it, vi } from 'vitest';
import type { SinkConfiguration } from '../../../api/configuration-outgoing.ts';
import { anyGo, versitygw } from '../../support/go-programs.ts';
import { freePort, listening, type Program, startProgram } from '../../support/program.ts';
import { describeWith } from '../../support/requires.ts';
import { appendCommands, segmentBytes } from '../../support/segments.ts';
import { sinkGround } from './ground.ts';

const ACCESS = 'sallyport-test';
const SECRET = 'a-secret-of-the-test';
const ARRIVAL = { timeout: 30_000, interval: 50 };

function startServer(program: string, folder: string, port: number): Program {
  const versions = path.join(folder, 'versions');
  return startProgram(program, [
    ...['--access', ACCESS, '--secret', SECRET, '--port', `127.0.0.1:${port}`, '--quiet'],
    ...['posix', '--versioning-dir', versions, path.join(folder, 'buckets')],
  ]);
}

async function objectsOf(client: AwsClient, bucket: string): Promise<string[]> {
  const text = await (await client.fetch(`${bucket}?list-type=2&max-keys=1000`)).text();
  return [...text.matchAll(/<Key>([^<]+)<\/Key>/g)].map((match) => match[1] ?? '').sort();
}

/** Segments put together again from their objects, in the order of their names. */
async function restored(client: AwsClient, bucket: string, prefix: string): Promise<Map<string, string>> {
  const segments = new Map<string, string>();
  for (const key of await objectsOf(client, bucket)) {
    const segment = key.slice(prefix.length, key.lastIndexOf('/'));
    const body = await (await client.fetch(`${bucket}/${key}`)).text();
    segments.set(segment, (segments.get(segment) ?? '') + body);
  }
  return segments;
}

describeWith([anyGo], 'the S3 sink, against a real server', () => {
  let program = '';
  beforeAll(async () => {
    program = await versitygw();
  }, 600_000);

  it('keeps every byte under Object Lock, also what was written while the server was down', async () => {
    await using ground = await sinkGround();
    for (const folder of ['buckets', 'versions']) await mkdir(path.join(ground.folder, folder));
    const port = await freePort();
    const client = new AwsClient({
      accessKeyId: ACCESS,
      secretAccessKey: SECRET,
      service: 's3',
      region: 'us-east-1',
      retries: 0,
    });
    const bucket = `http://127.0.0.1:${port}/records`;
    await writeFile(path.join(ground.folder, 'id'), `${ACCESS}\n`);
    await writeFile(path.join(ground.folder, 'secret'), `${SECRET}\n`);
    const sink: SinkConfiguration = {
      type: 's3',
      name: 'lake',
      caFile: undefined,
      endpoint: `http://127.0.0.1:${port}`,
      region: 'us-east-1',
      bucket: 'records',
      prefix: 'prod/',
      accessKeyIdFile: path.join(ground.folder, 'id'),
      secretAccessKeyFile: path.join(ground.folder, 'secret'),
      flushMs: 50,
      objectLock: { mode: 'COMPLIANCE', retentionDays: 2 },
    };
    await using server = startServer(program, ground.folder, port);
    await listening(port);
    const made = await client.fetch(bucket, { method: 'PUT', headers: { 'x-amz-bucket-object-lock-enabled': 'true' } });
    expect([made.status, await made.text()]).toEqual([200, '']);

    const stream = ground.recorder.stream('shop', 'db');
    appendCommands(stream, 500);
    const following = await ground.follow({ sinks: [sink] });
    await vi.waitFor(async () => {
      expect(await following.metric('sallyport_sink_lag_bytes', { sink: 'lake' })).toBe(0);
    }, ARRIVAL);

    await server.stop('SIGKILL');
    appendCommands(stream, 2000, 'while it was down, ümlaut');
    await vi.waitFor(async () => {
      expect(await following.metric('sallyport_sink_failures_total', { sink: 'lake' })).toBeGreaterThan(2);
    }, ARRIVAL);
    expect(await following.metric('sallyport_sink_lag_bytes', { sink: 'lake' })).toBeGreaterThan(100_000);
    // Commands go on meanwhile.
    await stream.sync();

    await using _again = startServer(program, ground.folder, port);
    await listening(port);
    await vi.waitFor(async () => {
      expect(await following.metric('sallyport_sink_lag_bytes', { sink: 'lake' })).toBe(0);
    }, ARRIVAL);
    await following.stop();
    const source = await segmentBytes(ground.root);
    expect(source.size).toBeGreaterThan(1);
    expect(await restored(client, bucket, 'prod/')).toEqual(source);

    const [key = ''] = await objectsOf(client, bucket);
    const head = await client.fetch(`${bucket}/${key}`, { method: 'HEAD' });
    expect(head.headers.get('x-amz-object-lock-mode')).toBe('COMPLIANCE');
    const days = (Date.parse(head.headers.get('x-amz-object-lock-retain-until-date') ?? '') - Date.now()) / 86_400_000;
    expect(days).toBeGreaterThan(1.9);
    expect(days).toBeLessThanOrEqual(2);
    const version = head.headers.get('x-amz-version-id') ?? '';
    const removed = await client.fetch(`${bucket}/${key}?versionId=${version}`, { method: 'DELETE' });
    expect(removed.status).toBe(403);
    expect(await removed.text()).toContain('object lock');
  }, 120_000);

  it('says what the server says when the key is wrong, without the key, and loses nothing', async () => {
    await using ground = await sinkGround();
    for (const folder of ['buckets', 'versions']) await mkdir(path.join(ground.folder, folder));
    const port = await freePort();
    await using _server = startServer(program, ground.folder, port);
    await listening(port);
    const client = new AwsClient({
      accessKeyId: ACCESS,
      secretAccessKey: SECRET,
      service: 's3',
      region: 'us-east-1',
      retries: 0,
    });
    const bucket = `http://127.0.0.1:${port}/records`;
    expect((await client.fetch(bucket, { method: 'PUT' })).status).toBe(200);
    await writeFile(path.join(ground.folder, 'id'), ACCESS);
    await writeFile(path.join(ground.folder, 'secret'), 'not-the-secret');
    appendCommands(ground.recorder.stream('shop', 'db'), 10);
    const following = await ground.follow({
      sinks: [
        {
          type: 's3',
          name: 'lake',
          caFile: undefined,
          endpoint: `http://127.0.0.1:${port}`,
          region: 'us-east-1',
          bucket: 'records',
          prefix: '',
          accessKeyIdFile: path.join(ground.folder, 'id'),
          secretAccessKeyFile: path.join(ground.folder, 'secret'),
          flushMs: 0,
          objectLock: undefined,
        },
      ],
    });
    await vi.waitFor(() => expect(ground.messages.join('\n')).toContain('403 SignatureDoesNotMatch'), ARRIVAL);
    expect(ground.messages.join('\n')).not.toContain('not-the-secret');
    // The key is corrected while it runs.
    await writeFile(path.join(ground.folder, 'secret'), SECRET);
    await vi.waitFor(async () => {
      expect(await following.metric('sallyport_sink_lag_bytes', { sink: 'lake' })).toBe(0);
    }, ARRIVAL);
    await following.stop();
    expect(await restored(client, bucket, '')).toEqual(await segmentBytes(ground.root));
    expect(await readFile(path.join(ground.folder, 'secret'), 'utf8')).toBe(SECRET);
  }, 60_000);
});
