/** The walk: each step says what it shows, what is run, as whom, and what must and must not be in the answer. */

export type Actor = 'owner' | 'reporter' | 'backup' | 'janitor' | 'auditor' | 'ada';

export interface Step {
  readonly title: string;
  /** The owner goes to the server directly; the auditor and Ada, who approves, use `sallyport`; the others go through Sallyport. */
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
  /** The command is held; these run while it waits. */
  readonly meanwhile?: readonly Step[];
  /** Done before: one byte of a copy of the record is changed. */
  readonly tampered?: true;
}

/** Stand for what is known only while the demonstration runs. */
export const PLACEHOLDERS = {
  session: '{session}',
  request: '{request}',
  state: '{state}',
  copy: '{copy}',
  configuration: '{configuration}',
} as const;

/** The session id that a denial tells. */
export const SESSION_PATTERN = /session ([0-9a-z]+-[0-9a-f]+)/;

const CUSTOMERS = `SELECT name, email, card_number FROM customers JOIN cards ON customer_id = customers.id ORDER BY name`;

const DELETE_OLD = "DELETE FROM orders WHERE placed < '2026-01-11'";

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
    title: 'The janitor deletes: Sallyport holds the statement until a person has looked at it',
    actor: 'janitor',
    program: 'psql',
    parameters: ['-c', DELETE_OLD],
    decided: 'allowed by rule "delete-orders" of policy "janitor" with an approval: released once, by Ada',
    succeeds: true,
    shows: [/NOTICE: .*holds this statement/, /ada/, /DELETE 9\n/],
    hides: [],
    meanwhile: [
      {
        title: 'what Ada sees: who asks, the statement, its estimated effect, and on request the exact count',
        actor: 'ada',
        program: 'sallyport',
        parameters: ['requests', 'show', PLACEHOLDERS.request, '--count', '-c', PLACEHOLDERS.configuration],
        decided: 'nothing was changed or locked for it',
        succeeds: true,
        shows: [/janitor/, /DELETE/, /delete-orders/, /order_items/, /estimate/i, /\b9\b/],
        hides: [],
      },
      {
        title: 'she approves it',
        actor: 'ada',
        program: 'sallyport',
        parameters: [
          ...['approve', PLACEHOLDERS.request, '--reason', 'agreed clean-up', '--yes'],
          ...['-c', PLACEHOLDERS.configuration],
        ],
        decided: 'signed with a key that only she has, over exactly this statement',
        succeeds: true,
        shows: [/approve/i],
        hides: [],
      },
    ],
  },
  {
    title: 'It was executed once',
    actor: 'owner',
    program: 'psql',
    parameters: ['-c', 'SELECT count(*) AS orders, min(placed) FROM orders'],
    decided: 'nobody: this connection does not go through Sallyport',
    succeeds: true,
    shows: [/51 \| 2026-01-11/],
    hides: [],
  },
  {
    title: 'The same statement a second time: one approval is good for one run, and this time Ada says no',
    actor: 'janitor',
    program: 'psql',
    parameters: ['-c', DELETE_OLD],
    decided: 'held again by rule "delete-orders", denied by Ada',
    succeeds: false,
    shows: [/ERROR/, /ran already/],
    hides: [/DELETE \d/],
    meanwhile: [
      {
        title: 'she denies it',
        actor: 'ada',
        program: 'sallyport',
        parameters: [
          ...['deny', PLACEHOLDERS.request, '--reason', 'it ran already', '--yes'],
          ...['-c', PLACEHOLDERS.configuration],
        ],
        decided: 'signed, too',
        succeeds: true,
        shows: [/den/i],
        hides: [],
      },
    ],
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
    parameters: ['sessions', 'show', PLACEHOLDERS.session],
    decided: 'each command with the rule that decided it',
    succeeds: true,
    shows: [/reporter/, /DROP TABLE orders/, /no-drop/],
    hides: [EMAIL, ...CARDS],
  },
  {
    title: 'The same session, played again',
    actor: 'auditor',
    program: 'sallyport',
    parameters: ['sessions', 'replay', PLACEHOLDERS.session, '--speed', '0'],
    decided: 'with the results that the agent saw',
    succeeds: true,
    shows: [/DROP TABLE orders/, /60/],
    hides: [EMAIL, ...CARDS],
  },
  {
    title: 'The record is as it was written: each line holds the hash of the one before, some are signed',
    actor: 'auditor',
    program: 'sallyport',
    parameters: ['verify', PLACEHOLDERS.state],
    decided: 'offline, with the public key',
    succeeds: true,
    shows: [/clean/i],
    hides: [],
  },
  {
    title: 'One byte changed in a copy of it: found, with the line',
    actor: 'auditor',
    program: 'sallyport',
    parameters: ['verify', PLACEHOLDERS.copy],
    decided: 'the hash of the changed line is not the one that the next line holds',
    succeeds: false,
    shows: [/\.jsonl:\d+/],
    hides: [],
    tampered: true,
  },
];
