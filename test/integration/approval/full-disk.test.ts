/** The disk of the record is full when people agree: the command does not run, and its request says what became of it. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { query } from '../../../proxy/protocols/postgres/wire/encode.ts';
import { type ApprovalGround, startApprovalGround, stateOf } from '../../support/approval-ground.ts';
import { describeWith, type Need, postgresServer } from '../../support/requires.ts';
import { fieldsOf } from '../../support/wire-client.ts';

function mountSmallDisk(): string | undefined {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'held-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m,mode=0700', 'tmpfs', folder], { stdio: 'pipe' });
    return folder;
  } catch {
    // Not root, or a sandbox that forbids it: the test says that it is skipped, and with CI=true it fails.
    rmdirSync(folder);
    return undefined;
  }
}

const disk = mountSmallDisk();
const mountedDisk: Need = () => (disk === undefined ? 'the right to mount a tmpfs (root)' : undefined);

const POLICY = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agent}
spec:
  connections: {names: [orders]}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - {name: all, effect: Allow, sql: {statements: ["*"], relations: ["*.*"]}}
    - {name: deletes, effect: RequireApproval, sql: {statements: [Delete]}, approval: {}}
`;

describeWith([postgresServer(18), mountedDisk], 'a disk that fills while a command is held', () => {
  let folder: string;
  let ground: ApprovalGround;

  beforeAll(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-held-full-'));
    ground = await startApprovalGround({
      version: 18,
      folder,
      schema: 'CREATE TABLE orders (id int); INSERT INTO orders VALUES (1)',
      settings: { log_statement: 'all' },
      connections: { orders: '' },
      resources: { 'agent.yaml': POLICY },
      gateway: { state: path.join(disk ?? '', 'state') },
    });
  });
  afterAll(async () => {
    await ground[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
    execFileSync('umount', [disk ?? '']);
    rmdirSync(disk ?? '');
  });

  test('nothing is forwarded that is not recorded, by an approval neither', async () => {
    await using client = await ground.lane.through('orders', 'agent');
    client.send(query('/* full */ DELETE FROM orders'));
    await client.until('N');
    const request = await ground.pending();
    const ballast = path.join(disk ?? '', 'ballast');
    const { bavail, bsize } = await statfs(disk ?? '');
    await writeFile(ballast, Buffer.alloc(bavail * bsize));
    await ground.vote(request);
    const error = fieldsOf((await client.until('E')).at(-1)!);
    expect(['42501', '58030']).toContain(error.C);
    expect(ground.lane.server.log()).not.toContain('/* full */');
    const [row] = await ground.lane.server.sql('SELECT count(*)::int AS n FROM orders', undefined, 'app');
    expect(row).toEqual({ n: 1 });
    await rm(ballast);
    const ended = await ground.request(
      (one) => one.metadata.name === request.metadata.name && stateOf(one) !== 'Pending' && stateOf(one) !== 'Approved',
    );
    // What was not forwarded is no Executed.
    expect(['Consumed', 'Failed']).toContain(stateOf(ended));
    // Once there is space again it is asked for anew.
    await using again = await ground.lane.through('orders', 'agent');
    again.send(query('/* full */ DELETE FROM orders'));
    await again.until('N');
    expect((await ground.pending()).metadata.name).not.toBe(request.metadata.name);
  });
});
