import type { Verdict } from '../judge.ts';
import { type ColumnDescription, rowDescription, sameBytes } from '../wire/decode.ts';
import type { Reply } from './replies.ts';

/** Of what one description was made last: a statement that runs again describes the same columns. */
interface Known {
  readonly description: Buffer;
  readonly names: string;
  readonly formats: string;
}

/**
 * How the rows of a result are to be read, as members of the first `result.chunk` of the record: names and types as the server
 * described them, formats as they were asked for. Made once per description; the rows themselves are not touched.
 */
export class ResultColumns {
  readonly #byVerdict = new WeakMap<Verdict, Known>();
  #lastVerdict: Verdict | undefined;
  #last: Known | undefined;
  /** Of the running result of a Query. */
  #running = '';

  /** A RowDescription body in bytes[start, end) answers this reply. */
  described(reply: Reply, bytes: Buffer, start: number, end: number): void {
    const { kind, portal, prepared, swallow } = reply;
    const verdict = reply.verdict ?? portal?.statement.verdict ?? prepared?.verdict;
    const { names, formats } = this.#known(verdict, bytes, start, end);
    if (kind === 'query') this.#running = names + formats;
    // The formats of a statement are those of each Bind.
    else if (kind === 'describeStatement' && prepared !== undefined) prepared.layout = names;
    // What a name (EXECUTE, FETCH) means by now describes other rows than those that have begun; the gateway asked before that.
    else if (kind === 'describePortal' && portal !== undefined && (swallow || !portal.begun))
      portal.layout = names + formats;
  }

  /** `,"columns":[[NAME,TYPE],…]` and, unless all are text, `,"formats":[…]`; empty when nothing described the rows. */
  of(reply: Reply | undefined): string {
    if (reply?.kind === 'query') return this.#running;
    const portal = reply?.portal;
    if (portal === undefined) return '';
    if (portal.layout !== undefined) return portal.layout;
    const formats = portal.resultFormats.some((format) => format !== 0)
      ? `,"formats":[${portal.resultFormats.join()}]`
      : '';
    return (portal.statement.layout ?? '') + formats;
  }

  ended(): void {
    this.#running = '';
  }

  #known(verdict: Verdict | undefined, bytes: Buffer, start: number, end: number): Known {
    const known = verdict === undefined ? undefined : this.#remembered(verdict);
    if (known !== undefined && sameBytes(bytes, start, end, known.description)) return known;
    const columns = rowDescription(bytes, start, end);
    const made = {
      description: Buffer.from(bytes.subarray(start, end)),
      names: `,"columns":${JSON.stringify(columns.map(({ name, typeOid }) => [name, typeOid]))}`,
      formats: formatsOf(columns),
    };
    if (verdict !== undefined) {
      this.#byVerdict.set(verdict, made);
      this.#lastVerdict = verdict;
      this.#last = made;
    }
    return made;
  }

  #remembered(verdict: Verdict): Known | undefined {
    if (verdict === this.#lastVerdict) return this.#last;
    const known = this.#byVerdict.get(verdict);
    this.#lastVerdict = verdict;
    this.#last = known;
    return known;
  }
}

function formatsOf(columns: readonly ColumnDescription[]): string {
  if (columns.every(({ format }) => format === 0)) return '';
  return `,"formats":[${columns.map(({ format }) => format).join()}]`;
}
