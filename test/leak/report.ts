/** docs/leak-harness.md, made from what a run came to. */
import type { ChannelSummary, Outcome } from './run.ts';

export interface RunSummary {
  readonly version: number;
  readonly channels: ReadonlyMap<string, ChannelSummary>;
  readonly benign: { readonly total: number; readonly refused: readonly string[] };
  readonly bypasses: number;
  readonly generated: Readonly<Record<'refused' | 'failed' | 'masked' | 'clean', number>>;
}

const OUTCOMES: readonly Outcome[] = ['refused', 'ended', 'failed on the server', 'answered, masked'];

const HEAD = `# Leak harness

<!-- Made by test/integration/leak-harness.test.ts with UPDATE_DOCS=1; do not edit. -->

A compromised agent, with the widest rights that can be given without naming dangerous functions, against the real gateway and real
servers. The target's role is its superuser, so that nothing but Sallyport stands in the way. After every session its bytes are searched
for the protected values in every form (raw, hex, base64, reversed, upper case, parts), every unprotected table for values that were
copied there, and at the end the record, the logs and the metrics. Any appearance fails the test; a question whose mere answer would
tell something ("oracles") must be refused.

*refused*: by the gateway. *ended*: the gateway ended the session. *failed on the server*: it was forwarded, and the server refused it;
its error was searched, too. *answered*: nothing protected was in the answer, or it was masked.
`;

const TAIL = `## Not shown by this harness

* **Time.** How long a statement takes may depend on protected values even where its answer does not. What computes with them is refused,
  which leaves plain reads.
* **Uniqueness.** \`INSERT\` into a protected column with a unique index tells by SQLSTATE 23505 whether a value exists, and \`allowEquality\`
  tells by design. Limit both with \`limits.commandsPerMinute\`.
* **Order.** Rows come as the server finds them. An index that begins with a protected column and has all that a statement shows may be read
  in its order. Partitions by a protected column tell its range.
* **Unchanged rows.** Writing a guess into an indexed protected column tells by the server's counters (\`n_tup_hot_upd\`) whether it was there.
  Rules that allow no writing to such columns stop that.
* **Comments and definitions.** \`COMMENT ON\`, defaults and constraints are part of the catalog that drivers read. Keep values out of them.
* **Triggers that were there before.** A trigger on an unprotected table may raise a notice that names protected values: the owner's own
  code, like a function that policy names.
`;

function channelTable(run: RunSummary): string {
  const rows = [...run.channels.values()].map(({ channel, counts }) => {
    const total = [...counts.values()].reduce((sum, one) => sum + one, 0);
    return `| ${channel} | ${total} | ${OUTCOMES.map((outcome) => counts.get(outcome) ?? 0).join(' | ')} |`;
  });
  return [
    '| channel | sequences | refused | ended | failed on the server | answered |',
    '|---|--:|--:|--:|--:|--:|',
    ...rows,
  ].join('\n');
}

export function page(runs: readonly RunSummary[]): string {
  const parts = runs.map((run) => {
    const { refused, failed, masked, clean } = run.generated;
    return `## PostgreSQL ${run.version}

${channelTable(run)}

No protected value came out.

* Of ${run.benign.total} benign statements ${run.benign.refused.length} were refused:
${run.benign.refused.map((sql) => `  * \`${sql}\``).join('\n')}
* ${run.bypasses} spellings of what policy forbids: all refused or the session ended, none in the server's log, nothing changed.
* ${refused + failed + masked + clean} random statements: ${refused} refused, ${failed} failed on the server, ${masked} answered with values masked, ${clean} answered with
  nothing to mask.
`;
  });
  return [HEAD, ...parts, TAIL].join('\n');
}
