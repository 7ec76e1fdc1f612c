/**
 * What waiting for people costs: `node bench/approvals.ts [ROUNDS]`. Prints Markdown, in milliseconds: from the moment in which the vote
 * is on disk until the client has its answer, beside what the server itself takes for the same statement. Client, server and gateway
 * share the machine.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { query } from '../proxy/protocols/postgres/wire/encode.ts';
import { startApprovalGround } from '../test/support/approval-ground.ts';
import { median } from './measure.ts';

const ROUNDS = Number(process.argv[2] ?? 100);
const WARM_UP = 10;

const POLICY = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agent}
spec:
  connections: {names: [orders]}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - {name: all, effect: Allow, sql: {statements: ["*"], relations: ["public.*"], functions: ["pg_catalog.*"]}}
    - name: updates
      effect: RequireApproval
      sql: {statements: [Update]}
      approval: {approvers: {groups: [dba]}}
`;

const quantile = (values: readonly number[], q: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? Number.NaN;

const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-bench-approvals-'));
await using cleanup = new AsyncDisposableStack();
cleanup.defer(() => rm(folder, { recursive: true, force: true }));
const ground = cleanup.use(
  await startApprovalGround({
    version: 15,
    folder,
    schema:
      'CREATE TABLE orders (id int PRIMARY KEY, total int); INSERT INTO orders SELECT n, n FROM generate_series(1, 1000) n',
    settings: { fsync: true, synchronous_commit: true },
    connections: { orders: '' },
    resources: { 'agent.yaml': POLICY },
  }),
);
await using direct = await ground.lane.direct();
await using agent = await ground.lane.through('orders', 'agent');
const server: number[] = [];
const released: number[] = [];
for (let round = -WARM_UP; round < ROUNDS; round++) {
  const statement = query(`UPDATE orders SET total = total + 1 WHERE id = ${round + WARM_UP + 1}`);
  let start = performance.now();
  direct.send(statement);
  await direct.until('Z');
  if (round >= 0) server.push(performance.now() - start);
  agent.send(statement);
  await agent.until('N');
  const request = await ground.pending();
  await ground.vote(request);
  start = performance.now();
  const answer = await agent.until('Z');
  if (answer.some(({ type }) => type === 'E')) throw new Error('the statement was refused');
  if (round >= 0) released.push(performance.now() - start);
}
const row = (name: string, values: readonly number[]): string =>
  `| ${name} | ${median(values).toFixed(1)} | ${quantile(values, 0.95).toFixed(1)} |`;
process.stdout.write(
  `${['| ms | median | 95 % |', '| --- | ---: | ---: |', row('the server itself', server), row('from vote to answer', released)].join('\n')}\n`,
);
