/** Commands that wait for people, on connections that sign in with a login made for the session or for the command. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ApprovalRequest } from '../../../api/resources.ts';
import { signVote } from '../../../approval/vote.ts';
import { type Person, person } from '../../../proxy/approval/approval.fixture.ts';
import { createRequestFiles, type RequestFiles } from '../../../proxy/approval/files.ts';
import { createHolder } from '../../../proxy/approval/folders.ts';
import { type CredentialGround, startCredentialGround } from '../../support/credential-ground.ts';
import { describeWith, postgresServer } from '../../support/requires.ts';

const RULES = (hold: string, more = ''): string => `    - name: all
      effect: Allow
      sql: {statements: [Read, Write, Session], relations: ["public.*"]}
    - name: deletes
      effect: RequireApproval
      sql: {statements: [Delete]}
      approval: {hold: ${hold}${more}}
`;

for (const version of [15, 18] as const) {
  describeWith([postgresServer(version)], `held commands and made logins, PostgreSQL ${version}`, () => {
    describe.each(['Session', 'Statement'])('scope: %s', (scope) => {
      let folder: string;
      let ground: CredentialGround;
      let files: RequestFiles;
      let ada: Person;

      beforeAll(async () => {
        folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-held-login-'));
        ada = person('ada', { groups: ['dba'] });
        const store = path.join(folder, 'store');
        const configuration = path.join(folder, 'sallyport.yaml');
        await writeFile(
          configuration,
          JSON.stringify({
            apiVersion: 'sallyport.dev/v1alpha1',
            kind: 'SallyportConfiguration',
            approvals: { store },
            approvers: [ada.entry],
          }),
        );
        files = createRequestFiles(store, createHolder(process.pid));
        ground = await startCredentialGround({
          version,
          role: `      grantsFromPolicy: true\n      scope: ${scope}\n`,
          rules: RULES('Reject'),
          gateway: { parameters: ['-c', configuration] },
        });
      });
      afterAll(async () => {
        await ground[Symbol.asyncDispose]();
        await rm(folder, { recursive: true, force: true });
      });

      async function requests(): Promise<ApprovalRequest[]> {
        const found = await Promise.all(
          (await files.names('default')).map((name) => files.read({ namespace: 'default', name })),
        );
        return found.flatMap((stored) => (stored === undefined ? [] : [stored.request]));
      }
      async function open(shown: string): Promise<ApprovalRequest> {
        let found: ApprovalRequest | undefined;
        await expect
          .poll(async () => {
            found = (await requests()).find(
              ({ spec, status }) => status?.state === 'Pending' && spec.request.display?.includes(shown) === true,
            );
            return found;
          })
          .toBeDefined();
        return found!;
      }
      async function approve(shown: string): Promise<ApprovalRequest> {
        const request = await open(shown);
        const ref = { namespace: 'default', name: request.metadata.name };
        await files.update(ref, (stored) => {
          const decision = signVote(
            stored,
            { verdict: 'Approve', voter: 'ada', via: 'test', now: Date.now() },
            ada.key,
          );
          return { ...stored, spec: { ...stored.spec, decisions: [...(stored.spec.decisions ?? []), decision] } };
        });
        await expect.poll(async () => (await files.read(ref))?.request.status?.state).not.toBe('Pending');
        return request;
      }
      const failure = (client: pg.Client, text: string, values: unknown[] = []): Promise<string> =>
        client.query(text, values).then(
          ({ rowCount }) => `${rowCount} rows`,
          (error: Error) => error.message,
        );

      test('hold: Reject: from another session too it is the same command, and passes once', async () => {
        const text = 'DELETE FROM orders WHERE id = $1';
        const one = await ground.client();
        expect(await failure(one, text, [1])).toContain('holds this statement');
        const request = await approve("id = '1'");
        await one.end();
        const two = await ground.client();
        expect(await failure(two, text, [1])).toBe('1 rows');
        expect(await failure(two, text, [1])).toContain('holds this statement');
        await two.end();
        const names = (await requests()).map(({ metadata }) => metadata.name);
        expect(names.sort()).toEqual([request.metadata.name, `${request.metadata.name}-2`]);
      });

      test('fifty tries from ten sessions are one request', async () => {
        const before = (await requests()).length;
        const clients = await Promise.all(Array.from({ length: 10 }, () => ground.client()));
        const answers = await Promise.all(
          clients.map((client) => failure(client, "DELETE FROM orders WHERE total = '999'")),
        );
        expect(answers.every((answer) => answer.includes('holds this statement'))).toBe(true);
        expect((await requests()).length - before).toBe(1);
        await Promise.all(clients.map((client) => client.end()));
        await approve('999');
      });

      test('the preview has an estimate, by a login that is gone afterwards', async () => {
        await ground.policy(RULES('Wait'));
        const client = await ground.client();
        const running = failure(client, 'DELETE FROM orders WHERE id BETWEEN 10 AND 19');
        const request = await open('BETWEEN');
        expect({ ...request.spec.preview, ...request.status?.preview }).toMatchObject({
          estimate: { rows: expect.any(Number) },
        });
        await approve('BETWEEN');
        expect(await running).toBe('10 rows');
        await client.end();
        await expect.poll(() => ground.logins()).toEqual([]);
      });
    });
  });
}
