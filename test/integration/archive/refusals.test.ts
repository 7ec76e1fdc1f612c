import { readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, it, vi } from 'vitest';
import type { ArchiveConfiguration } from '../../../api/configuration-outgoing.ts';
import { listSegments } from '../../../record/segment.ts';
import { createAuthority, type IssuedCertificate } from '../../support/certificates.ts';
import { appendCommands, segmentBytes } from '../../support/segments.ts';
import { sinkGround } from '../sinks/ground.ts';
import { type ArchiveGround, archiveGround } from './ground.ts';

const ARRIVAL = { timeout: 20_000, interval: 20 };

const remote = (ground: ArchiveGround, certificate: IssuedCertificate): ArchiveConfiguration => ({
  type: 'remote',
  url: ground.url,
  caFile: ground.authority.caPath,
  certificateFile: certificate.certificatePath,
  keyFile: certificate.keyPath,
});

const archived = (ground: ArchiveGround): Promise<Map<string, string>> =>
  segmentBytes(path.join(ground.directory, 'record'));

it('finds a gap that a lost tail leaves, keeps what follows, and says so once', async () => {
  await using ground = await archiveGround();
  await using gateway = await sinkGround();
  const archive = await ground.start();
  const certificate = await ground.authority.issue('proxy-a');
  const stream = gateway.recorder.stream('shop', 'db');
  appendCommands(stream, 10);
  const following = await gateway.follow({ archive: remote(ground, certificate) });
  await vi.waitFor(async () => expect(await archived(ground)).toEqual(await segmentBytes(gateway.root)), ARRIVAL);
  expect(await ground.findings()).toEqual([]);
  await archive.stop('SIGKILL');
  await following.stop();
  // A disk that forgot lines which the archive did not have: three in the middle of what is to be sent.
  appendCommands(stream, 10);
  await gateway.recorder.close();
  const [segment] = await listSegments(gateway.root);
  const lines = (await readFile(segment?.path ?? '', 'utf8')).split('\n');
  lines.splice(15, 3);
  await writeFile(segment?.path ?? '', lines.join('\n'));
  await ground.start();
  const again = await gateway.follow({ archive: remote(ground, certificate) });
  await vi.waitFor(async () => expect(await archived(ground)).toEqual(await segmentBytes(gateway.root)), ARRIVAL);
  await again.stop();
  expect(await ground.findings()).toMatchObject([
    { kind: 'gap', proxy: 'proxy-a', message: '3 event(s) before number 18 are missing' },
  ]);
}, 60_000);

it('refuses other bytes for what it acknowledged, reports it, and takes the other streams', async () => {
  await using ground = await archiveGround();
  await using gateway = await sinkGround();
  await ground.start();
  const certificate = await ground.authority.issue('proxy-a');
  appendCommands(gateway.recorder.stream('shop', 'db'), 50);
  const following = await gateway.follow({ archive: remote(ground, certificate) });
  await vi.waitFor(async () => expect(await archived(ground)).toEqual(await segmentBytes(gateway.root)), ARRIVAL);
  await following.stop();
  const before = await archived(ground);
  const [segment] = await listSegments(gateway.root);
  const text = await readFile(segment?.path ?? '', 'utf8');
  // In place, since the recorder has it open.
  await writeFile(segment?.path ?? '', text.replace('SELECT 1', 'SELECT 2'), { flag: 'r+' });
  await rm(path.join(gateway.folder, 'positions'), { recursive: true });
  const again = await gateway.follow({ archive: remote(ground, certificate) });
  await vi.waitFor(async () => expect(await ground.findings()).toHaveLength(1), ARRIVAL);
  appendCommands(gateway.recorder.stream('shop', 'warehouse'), 50);
  await vi.waitFor(async () => expect((await archived(ground)).size).toBe(2), ARRIVAL);
  expect(await ground.findings()).toMatchObject([{ kind: 'conflict', offset: text.indexOf('SELECT 1') + 7 }]);
  for (const [file, content] of before) expect((await archived(ground)).get(file)).toBe(content);
  expect(gateway.messages.join('\n')).toContain('SPH016');
  await again.stop();
}, 60_000);

it('lets in whom its authority knows, to the namespaces and streams that are theirs', async () => {
  await using ground = await archiveGround({
    proxies: [
      { name: 'proxy-a', namespaces: ['shop'] },
      { name: 'proxy-b', namespaces: ['shop'] },
    ],
  });
  await using gateway = await sinkGround();
  const archive = await ground.start();
  const own = await ground.authority.issue('proxy-a');
  const other = await ground.authority.issue('proxy-b');
  const unlisted = await ground.authority.issue('proxy-c');
  const foreign = await (await createAuthority(gateway.folder, 'foreign authority')).issue('proxy-a');
  appendCommands(gateway.recorder.stream('shop', 'db'), 5);
  const following = await gateway.follow({ archive: remote(ground, own) });
  await vi.waitFor(async () => expect(await archived(ground)).toEqual(await segmentBytes(gateway.root)), ARRIVAL);
  await following.stop();
  const before = await archived(ground);
  const [[file = '', text = ''] = []] = [...before];
  const target = (offset: number, of = file): string => `/v1/segments/${of}?offset=${offset}`;
  const line = '{"v":1,"n":99,"t":"2026-01-01T00:00:00.000000Z","e":"recorder.heartbeat"}\n';

  await expect(ground.post(foreign, target(text.length), line)).rejects.toMatchObject({ code: 'SPD001' });
  expect(await ground.post(other, target(text.length), line)).toEqual({ status: 403, code: 'SPH003' });
  expect(await ground.post(unlisted, target(text.length), line)).toEqual({ status: 403, code: 'SPH004' });
  const elsewhere = file.replace('shop/', 'bank/');
  expect(await ground.post(own, target(0, elsewhere), text)).toEqual({ status: 403, code: 'SPH004' });
  // A head that names another stream than its path.
  const stolen = file.replace(/-[0-9a-f]{12}-/, '-0123456789ab-');
  expect(await ground.post(own, target(0, stolen), text)).toEqual({ status: 422, code: 'SPH006' });
  expect(await ground.post(own, target(text.length), line.trimEnd())).toEqual({ status: 422, code: 'SPH006' });
  expect(await ground.post(own, target(text.length + 10), line)).toEqual({ status: 409, code: 'SPH002' });
  expect(await ground.post(own, '/v1/segments/shop/..%2f..%2fetc/passwd?offset=0', line)).toEqual({
    status: 404,
    code: 'SPH005',
  });
  expect(await archived(ground)).toEqual(before);
  // The bytes that it has already are taken, and change nothing.
  expect(await ground.post(own, target(0), text)).toEqual({ status: 200, code: '' });
  expect(await archived(ground)).toEqual(before);
  expect(archive.output()).toContain('SPH003');
}, 60_000);
