/** The walk: each step says what it shows, what is run, as whom, and what must and must not be in the answer. */

export type Actor = 'owner' | 'reporter' | 'backup' | 'auditor';

export interface Step {
  readonly title: string;
  /** The owner goes to the server directly; the auditor reads the record with `sallyport`; the others go through Sallyport. */
  readonly actor: Actor;
  readonly program: 'psql' | 'pg_dump' | 'sallyport';
  readonly parameters: readonly string[];
  /** Who or what decided, in words. */
  readonly decided: string;
  readonly succeeds: boolean;
  readonly shows: readonly RegExp[];
  readonly hides: readonly RegExp[];
  /** The answer is shown from the first line that matches; what must and must not be in it is judged on the whole. */
  readonly shownFrom?: RegExp;
  /** A later step looks at the session that this one's denial names. */
  readonly session?: 'remembered';
}

/** Stands for the remembered session. */
export const REMEMBERED_SESSION = '{session}';

/** The session id that a denial tells. */
export const SESSION_PATTERN = /session ([0-9a-z]+-[0-9a-f]+)/;

const CUSTOMERS = `SELECT name, email, card_number FROM customers JOIN cards ON customer_id = customers.id ORDER BY name`;

const EMAIL = /[a-z]+@example\.com/;
const CARDS = [/4111111111111111/, /5555555555554444/, /378282246310005/];

export const STEPS: readonly Step[] = [
  {
    title: 'What is really in the database, seen by its owner without Sallyport',
    actor: 'owner',
    program: 'psql',
    parameters: ['-c', CUSTOMERS],
    decided: 'nobody: this connection does not go through Sallyport',
    succeeds: true,
    shows: [/ada@example\.com/, ...CARDS],
    hides: [],
  },
  {
    title: 'The same query by the agent: it works, and e-mails and card numbers are masked',
    actor: 'reporter',
    program: 'psql',
    parameters: ['-c', CUSTOMERS],
    decided: 'allowed by rule "read" of policy "reporter", masked by rule "personal-data"',
    succeeds: true,
    shows: [/Ada Lovelace/, /1111/, /4444/, /0005/],
    hides: [EMAIL, ...CARDS],
  },
  {
    title: 'The agent asks for a masked value by another way',
    actor: 'reporter',
    program: 'psql',
    parameters: [
      '-c',
      `SELECT name, left(card_number, 12) || right(card_number, 4) FROM customers JOIN cards ON customer_id = customers.id`,
    ],
    decided: 'denied by masking rule "personal-data": a protected column only as a bare column of the output',
    succeeds: false,
    shows: [/ERROR/],
    hides: [EMAIL, ...CARDS],
  },
  {
    title: 'The agent asks for it bit by bit',
    actor: 'reporter',
    program: 'psql',
    parameters: ['-c', "SELECT count(*) FROM cards WHERE card_number LIKE '4%'"],
    decided: 'denied by masking rule "personal-data"',
    succeeds: false,
    shows: [/ERROR/],
    hides: [/count/, ...CARDS],
  },
  {
    title: 'The agent drops a table; its session lives on, and so does the table',
    actor: 'reporter',
    program: 'psql',
    parameters: [
      '-c',
      'SELECT count(*) FROM orders',
      '-c',
      'DROP TABLE orders',
      '-c',
      'SELECT max(placed) FROM orders',
    ],
    decided: 'denied by rule "no-drop" of policy "fences"',
    succeeds: true,
    shows: [/60/, /ERROR/, /no-drop/, /HINT/, /2026-03-02/],
    hides: [/DROP TABLE\n/],
    session: 'remembered',
  },
  {
    title: 'The agent dumps the audit schema',
    actor: 'reporter',
    program: 'pg_dump',
    parameters: ['--data-only', '--schema=audit'],
    decided: 'denied by rule "audit-closed" of policy "fences"',
    succeeds: false,
    shows: [/audit/],
    hides: [/refund limit/],
  },
  {
    title: 'The backup job dumps it with the same program: it is the one that may',
    actor: 'backup',
    program: 'pg_dump',
    parameters: ['--data-only', '--schema=audit'],
    decided: 'allowed by rule "dump" of policy "backup"',
    succeeds: true,
    shows: [/COPY audit\.events/, /refund limit/],
    hides: [],
    shownFrom: /^COPY/,
  },
  {
    title: 'What was recorded: every session, of everybody',
    actor: 'auditor',
    program: 'sallyport',
    parameters: ['sessions', 'list'],
    decided: 'the record is written before a command is forwarded',
    succeeds: true,
    shows: [/reporter/, /backup/],
    hides: [EMAIL, ...CARDS],
  },
  {
    title: 'One of them in full: the agent that dropped a table',
    actor: 'auditor',
    program: 'sallyport',
    parameters: ['sessions', 'show', REMEMBERED_SESSION],
    decided: 'each command with the rule that decided it',
    succeeds: true,
    shows: [/reporter/, /DROP TABLE orders/, /no-drop/],
    hides: [EMAIL, ...CARDS],
  },
];
