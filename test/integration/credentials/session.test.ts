/** Logins made for one session: what they may do, who can use them, and that they are gone afterwards. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import {
  type CredentialGround,
  EVERYTHING,
  READ,
  startCredentialGround,
  WRITE,
} from '../../support/credential-ground.ts';
import { describeWith, postgresServer } from '../../support/requires.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

for (const version of [15, 18] as const) {
  describeWith([postgresServer(version)], `logins for a session, PostgreSQL ${version}`, () => {
    let ground: CredentialGround;
    beforeAll(async () => {
      ground = await startCredentialGround({ version, settings: { log_statement: 'all' } });
    });
    afterAll(() => ground[Symbol.asyncDispose]());

    test('works', async () => {
      const client = await ground.client();
      const { rows } = await client.query('SELECT current_user AS login, count(*)::int AS n FROM orders');
      expect(rows).toEqual([{ login: expect.stringMatching(/^sallyport_login_[0-9a-f]{24}$/), n: 100 }]);
      expect(await ground.logins()).toEqual([rows[0].login]);
      await client.end();
      await expect.poll(() => ground.logins()).toEqual([]);
      console.log(ground.gateway.output());
      console.log((await ground.record()).map((e) => JSON.stringify(e)).join('\n'));
    });
  });
}
