/** A portal that waits for people is bound again by the name of its statement: who gives that name to another approves nothing with it. */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import * as encode from '../../../proxy/protocols/postgres/wire/encode.ts';
import { type ApprovalGround, startApprovalGround } from '../../support/approval-ground.ts';
import { describeWith, postgresServer } from '../../support/requires.ts';
import { bind, shapeOf } from '../../support/wire-client.ts';

const { close, execute, flush, parse, sync } = encode;

const POLICY = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agent}
spec:
  connections: {names: [orders]}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - {name: all, effect: Allow, sql: {statements: ["*"], relations: ["*.*"]}}
    - name: deletes
      effect: RequireApproval
      sql: {statements: [Delete]}
      approval: {}
`;

describeWith([postgresServer(18)], 'a statement that takes the name of one that waits', () => {
  let folder: string;
  let ground: ApprovalGround;

  beforeAll(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-swapped-'));
    ground = await startApprovalGround({
      version: 18,
      folder,
      schema: 'CREATE TABLE harmless (id int); CREATE TABLE precious (id int)',
      connections: { orders: '' },
      resources: { 'agent.yaml': POLICY },
    });
  });
  afterAll(async () => {
    await ground[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const A = 'DELETE FROM harmless';
  const B = 'DELETE FROM precious';
  const ways: readonly [string, readonly Uint8Array[]][] = [
    ['the unnamed one', [parse('', A), bind({ portal: 'p' }), parse('', B), execute('p'), sync()]],
    [
      'a named one, closed and made again',
      [
        parse('s', A),
        bind({ portal: 'p', statement: 's' }),
        close('S', 's'),
        flush(),
        parse('s', B),
        execute('p'),
        sync(),
      ],
    ],
    [
      'the unnamed one, closed',
      [parse('', A), bind({ portal: 'p' }), close('S', ''), flush(), parse('', B), execute('p'), sync()],
    ],
  ];

  test.each(ways)('%s: refused, and neither runs', async (_name, messages) => {
    await ground.lane.server.sql(
      'TRUNCATE harmless, precious; INSERT INTO harmless VALUES (1); INSERT INTO precious VALUES (1), (2)',
      undefined,
      'app',
    );
    await using client = await ground.lane.through('orders', 'agent');
    client.send(...messages);
    // Nobody is asked: what they would read is not what would be bound.
    expect(shapeOf(await client.until('Z')).slice(-2)).toEqual(['E 0A000', 'ZI']);
    expect(await ground.requests()).toEqual([]);
    const left = await ground.lane.server.sql(
      'SELECT (SELECT count(*)::int FROM harmless) AS harmless, (SELECT count(*)::int FROM precious) AS precious',
      undefined,
      'app',
    );
    expect(left).toEqual([{ harmless: 1, precious: 2 }]);
  });
});
