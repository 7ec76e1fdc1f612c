import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { loadConfiguration, readConfiguration } from './configuration.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'configuration-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function file(members: object): Promise<string> {
  const path = join(folder, 'sallyport.yaml');
  const head = { apiVersion: 'sallyport.dev/v1alpha1', kind: 'SallyportConfiguration' };
  await writeFile(path, JSON.stringify({ ...head, ...members }));
  return path;
}

const s3 = { endpoint: 'https://s3', bucket: 'records', accessKeyIdFile: 'id', secretAccessKeyFile: 'secret' };

it('fills in what is not said, and makes paths absolute', async () => {
  const configuration = await loadConfiguration(
    await file({
      notifications: { webhooks: [{ url: 'http://127.0.0.1:1/', secretFile: 'hook' }] },
      archive: { url: 'https://archive:8443', caFile: 'ca', certificateFile: 'crt', keyFile: 'key' },
      sinks: [{ name: 'lake', s3: { ...s3, objectLock: { retentionDays: 3 } } }],
    }),
  );
  expect(configuration.notifications.webhooks).toEqual([
    { url: 'http://127.0.0.1:1/', secretFile: join(folder, 'hook'), includeCommand: false },
  ]);
  expect(configuration.archive).toMatchObject({ type: 'remote', keyFile: join(folder, 'key') });
  expect(configuration.sinks).toMatchObject([
    {
      type: 's3',
      region: 'us-east-1',
      flushMs: 60_000,
      accessKeyIdFile: join(folder, 'id'),
      objectLock: { mode: 'COMPLIANCE', retentionDays: 3 },
    },
  ]);
});

it.each([
  [
    'a receiver without TLS',
    { notifications: { webhooks: [{ url: 'http://hooks/', secretFile: 'a' }] } },
    'changed on the way',
  ],
  ['a sink of two kinds', { sinks: [{ name: 'a', s3, otlp: { url: 'https://a/' } }] }, 'exactly one of s3'],
  ['a sink of none', { sinks: [{ name: 'a' }] }, 'exactly one of s3'],
  [
    'a sink without TLS',
    { sinks: [{ name: 'a', otlp: { url: 'http://collector:4318/v1/logs' } }] },
    'changed on the way',
  ],
  [
    'two sinks of a name',
    {
      sinks: [
        { name: 'a', s3 },
        { name: 'a', s3 },
      ],
    },
    'there twice',
  ],
  ['a sink named as the archive', { sinks: [{ name: 'archive', s3 }] }, 'name of the archive'],
  ['an archive in two places', { archive: { directory: 'a', url: 'https://a' } }, 'exactly one of directory'],
  ['an archive without a certificate', { archive: { url: 'https://a' } }, 'caFile, certificateFile and keyFile'],
  ['an hour and more of waiting', { sinks: [{ name: 'a', s3: { ...s3, flushInterval: '2h' } }] }, 'at most one hour'],
])('refuses %s', async (_what, members, why) => {
  const { configuration, findings } = await readConfiguration(await file(members));
  expect(configuration).toBeUndefined();
  expect(findings.map(({ message }) => message).join()).toContain(why);
});
