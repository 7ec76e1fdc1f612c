import type { PgbenchLoad } from './pgbench.ts';

export interface Scenario {
  readonly name: string;
  readonly load: Omit<PgbenchLoad, 'seconds'>;
  /** What a transaction is called in the table. */
  readonly unit: 'queries' | 'transactions' | 'results' | 'connections';
  /** Part of --quick. */
  readonly quick: boolean;
  /** What is aimed at, as a ratio to pgbouncer. */
  readonly goal?: number;
}

export interface ScriptFiles {
  readonly rows100: string;
  readonly rows100k: string;
}

const SELECT = 'select-only';

/** Goals of the modes in order of 1, 8 and 64 clients. */
const MODES = [
  { mode: 'simple', goals: [0.92, 0.9, 0.85] },
  { mode: 'extended', goals: [undefined, undefined, undefined] },
  { mode: 'prepared', goals: [0.92, 0.9, 0.85] },
] as const;

const CLIENTS = [1, 8, 64] as const;

export function scenarios(files: ScriptFiles): Scenario[] {
  const reads = MODES.flatMap(({ mode, goals }) =>
    CLIENTS.map((clients, index): Scenario => {
      const goal = goals[index];
      return {
        name: `${mode}, ${clients} client${clients === 1 ? '' : 's'}`,
        load: { mode, clients, script: SELECT },
        unit: 'queries',
        quick: mode !== 'extended',
        ...(goal === undefined ? {} : { goal }),
      };
    }),
  );
  return [
    ...reads,
    {
      name: 'TPC-B, 1 client',
      load: { mode: 'prepared', clients: 1, script: 'tpcb-like' },
      unit: 'transactions',
      quick: false,
    },
    {
      name: 'TPC-B, 8 clients',
      load: { mode: 'prepared', clients: 8, script: 'tpcb-like' },
      unit: 'transactions',
      quick: true,
    },
    {
      name: '100 rows, one column masked, 8 clients',
      load: { mode: 'prepared', clients: 8, script: files.rows100 },
      unit: 'results',
      quick: true,
      goal: 1,
    },
    {
      name: '100,000 rows, one column masked, 1 client',
      load: { mode: 'simple', clients: 1, script: files.rows100k },
      unit: 'results',
      quick: true,
      goal: 1,
    },
    {
      name: 'TLS, simple, 8 clients',
      load: { mode: 'simple', clients: 8, script: SELECT, tls: true },
      unit: 'queries',
      quick: false,
    },
    {
      name: 'TLS, prepared, 8 clients',
      load: { mode: 'prepared', clients: 8, script: SELECT, tls: true },
      unit: 'queries',
      quick: true,
      goal: 0.7,
    },
    {
      name: 'new connection each, 8 clients',
      load: { mode: 'simple', clients: 8, script: SELECT, reconnect: true },
      unit: 'connections',
      quick: true,
    },
  ];
}
