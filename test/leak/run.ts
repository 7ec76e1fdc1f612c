/** Carries attacks out, and looks for the protected values wherever they could have gone. */
import type { Postgres } from '../support/postgres.ts';
import type { Attack } from './attack.ts';
import { findCanaries } from './canaries.ts';
import { DATABASE, GROUND, MASKED_COLUMNS, PROTECTED_RELATIONS } from './ground.ts';
import { type AgentClient, type Answer, connectAgent, type Step } from './wire.ts';

/** Of a whole session; the strongest that happened: refused by the gateway, ended by it, or answered. */
export type Outcome = 'refused' | 'ended' | 'failed on the server' | 'answered, masked';

export interface Result {
  readonly outcome: Outcome;
  /** Empty: no leak. */
  readonly leaks: readonly string[];
}

function outcomeOf(answers: readonly Answer[]): Outcome {
  const errors = answers.filter(({ type }) => type === 'E').map(({ body }) => body.toString('latin1'));
  if (errors.some((error) => error.includes('VFATAL'))) return 'ended';
  if (errors.some((error) => /Sallyport SPG\d/.test(error))) return 'refused';
  if (errors.length > 0) return 'failed on the server';
  return 'answered, masked';
}

export async function attack(port: number, token: string, steps: readonly Step[]): Promise<Result> {
  const client = await connectAgent(port, DATABASE, token);
  const answers: Answer[] = [];
  try {
    for (const step of steps) answers.push(...(await client.send(step)));
  } finally {
    await client.end();
  }
  return { outcome: outcomeOf(answers), leaks: findCanaries(client.received()) };
}

const OBJECTS = `SELECT n.nspname || '.' || c.relname AS name, c.relkind AS kind, c.oid::text FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1`;

const DEFINITIONS = `SELECT (SELECT count(*) FROM pg_proc WHERE oid > 16384) AS functions, (SELECT count(*) FROM pg_rewrite) AS rules,
  (SELECT count(*) FROM pg_constraint) AS constraints, (SELECT count(*) FROM pg_attribute) AS columns,
  (SELECT count(*) FROM pg_trigger) AS triggers, (SELECT count(*) FROM pg_inherits) AS parents,
  (SELECT string_agg(s::text, '' ORDER BY s::text) FROM pg_db_role_setting s) AS settings,
  (SELECT string_agg(rolname, ',' ORDER BY oid) FROM pg_roles) AS roles,
  (SELECT count(*) FROM pg_policy) AS policies, (SELECT string_agg(nspname, ',' ORDER BY oid) FROM pg_namespace WHERE nspname !~ '^pg_t') AS schemas`;

export interface Ground {
  /** Protected values that an attack has brought to where they are not protected. Puts everything back. */
  settle(): Promise<string[]>;
  /** How often anything had to be put back. */
  readonly changes: number;
}

/** @param refresh makes the gateway read the catalog again */
export async function layGround(server: Postgres, refresh: () => Promise<void>): Promise<Ground> {
  const rows = (sql: string) => server.sql(sql, undefined, DATABASE);
  const names = async (): Promise<string[]> =>
    (await rows(OBJECTS)).filter(({ kind }) => 'rpm'.includes(String(kind))).map(({ name }) => String(name));

  async function contents(): Promise<Map<string, string>> {
    const all = await names();
    const parts = all.map(
      (name) =>
        `SELECT '${name}' AS name, (SELECT string_agg(t::text, '' ORDER BY t::text) FROM ${quoted(name)} t) AS rows`,
    );
    const found = parts.length === 0 ? [] : await rows(parts.join(' UNION ALL '));
    return new Map(found.map((row) => [String(row.name), String(row.rows)]));
  }
  const state = async (): Promise<string> =>
    JSON.stringify([await rows(OBJECTS), await rows(DEFINITIONS), [...(await contents())]]);

  await rows(GROUND);
  let before = await state();
  let changes = 0;
  return {
    get changes() {
      return changes;
    },
    async settle() {
      const now = await state();
      if (now === before) return [];
      changes++;
      const laundered: string[] = [];
      for (const [name, text] of await contents()) {
        if (PROTECTED_RELATIONS.includes(name)) {
          if (name === 'public.customers') laundered.push(...(await cleanColumns()));
          continue;
        }
        laundered.push(...findCanaries(text).map((leak) => `${name}: ${leak}`));
      }
      await rows(GROUND);
      before = await state();
      await refresh();
      return laundered;
    },
  };

  async function cleanColumns(): Promise<string[]> {
    const [row] = await rows(
      `SELECT string_agg((to_jsonb(c) - '{${MASKED_COLUMNS.join(',')}}'::text[])::text, '') AS text FROM public.customers c`,
    );
    return findCanaries(String(row?.text)).map((leak) => `public.customers: ${leak}`);
  }
}

const quoted = (name: string): string =>
  name
    .split('.')
    .map((part) => `"${part}"`)
    .join('.');

/** Has a session change a definition, after which the gateway reads the catalog. */
export async function refreshCatalog(port: number, token: string): Promise<void> {
  const client: AgentClient = await connectAgent(port, DATABASE, token);
  await client.send('CREATE TABLE other.fresh ()');
  await client.send('DROP TABLE other.fresh');
  await client.send('SELECT 1 FROM customers');
  await client.end();
}

/** Attacks of one channel, with what came of them. */
export interface ChannelSummary {
  readonly channel: string;
  readonly counts: Map<Outcome, number>;
}

export function count(summaries: Map<string, ChannelSummary>, { channel }: Attack, outcome: Outcome): void {
  const summary = summaries.get(channel) ?? { channel, counts: new Map() };
  summaries.set(channel, summary);
  summary.counts.set(outcome, (summary.counts.get(outcome) ?? 0) + 1);
}
