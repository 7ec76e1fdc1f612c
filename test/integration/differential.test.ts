/** Thousands of generated exchanges, directly and through Sallyport under a policy that allows everything: the same replies. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type LaneGround, startLaneGround } from '../support/lane-ground.ts';
import { type Postgres, startPostgres } from '../support/postgres.ts';
import { describeWith, postgresServer } from '../support/requires.ts';
import { fieldsOf, rowOf, WireClient, type WireMessage } from '../support/wire-client.ts';
import { withoutIds } from '../support/wire-compare.ts';
import { type Exchange, exchanges, SCHEMA } from './differential/exchanges.ts';

const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8];
const EXCHANGES = Number(process.env.DIFFERENTIAL_EXCHANGES ?? 250);

/** Messages as text. Of errors what drivers show: the gateway's own have no file and line of the server's source. */
function shown(messages: readonly WireMessage[]): string[] {
  // Whether the two servers have given out as many object ids depends on what they did by themselves meanwhile.
  const ids = new Map<number, number>();
  return messages.map((message) => {
    const { type, body } = message;
    if (type === 'E' || type === 'N') {
      const { S, C, M, D, H, P } = fieldsOf(message);
      return `${type} ${JSON.stringify({ S, C, M, D, H, P })}`;
    }
    // The process id of whoever notified.
    if (type === 'A') return `A ${body.toString('latin1', 4)}`;
    if (type === 'T') return `T ${withoutIds(body, ids).toString('latin1')}`;
    if (type === 'D') {
      const row = rowOf(message);
      return `D ${JSON.stringify(row)} ${body.toString('hex').length}`;
    }
    return `${type} ${body.toString('latin1')}`;
  });
}

async function replies(client: WireClient, { bytes }: Exchange): Promise<string[]> {
  client.send(bytes);
  return shown(await client.until('Z'));
}

for (const version of [15, 18] as const) {
  describeWith([postgresServer(version)], `generated exchanges with PostgreSQL ${version}`, () => {
    let ground: LaneGround;
    let other: Postgres & AsyncDisposable;
    beforeAll(async () => {
      // Two servers with the same history.
      ground = await startLaneGround({ version, schema: SCHEMA });
      other = await startPostgres({ version, hba: ['host all all 127.0.0.1/32 trust'] });
      await other.sql('CREATE DATABASE app');
      await other.sql(SCHEMA, undefined, 'app');
    });
    afterAll(async () => {
      await other?.[Symbol.asyncDispose]();
      await ground?.[Symbol.asyncDispose]();
    });

    test.each(SEEDS)('seed %i', { timeout: 300_000 }, async (seed) => {
      await using direct = await WireClient.connect({ port: other.port, database: 'app' });
      await using through = await ground.through();
      let before = '';
      let worked = 0;
      for (const [index, exchange] of exchanges(seed, EXCHANGES).entries()) {
        const [expected, found] = await Promise.all([replies(direct, exchange), replies(through, exchange)]);
        expect(found, `exchange ${index} of seed ${seed}, after ${before}\n${exchange.text}`).toEqual(expected);
        before = exchange.text;
        if (!expected.some((message) => message.startsWith('E '))) worked++;
      }
      // Nothing but errors would be the same by accident.
      expect(worked / EXCHANGES).toBeGreaterThan(0.3);
    });
  });
}
