import type { BoundValues } from '../../../../record/events.ts';
import type { Verdict } from '../judge.ts';
import type { BindHeader, ColumnDescription } from '../wire/decode.ts';
import type { RowPlan } from './row-plans.ts';

/**
 * What the server still owes an answer for, in order. The relay walks the server's messages against this queue: a message that
 * does not fit its head ends the session, so a reply can never be taken for that of another command.
 */
export type ReplyKind =
  | 'query'
  | 'parse'
  | 'bind'
  | 'describeStatement'
  | 'describePortal'
  | 'execute'
  | 'close'
  | 'sync'
  | 'functionCall'
  /** Nothing is owed here: the client has ended COPY data, which it sent before the server asked for it. */
  | 'copyEnd';

export interface Prepared {
  readonly name: string;
  /** As it was sent: of SQL's PREPARE the whole query string. */
  readonly text: string;
  readonly bySql: boolean;
  verdict: Verdict;
  /** The server has confirmed it. */
  confirmed: boolean;
  /** Number of the pipeline (counted by Sync) in which its Parse was sent. */
  readonly batch: number;
  /** Types of its parameters: as its Parse said, 0 for those that the server finds out, until it has told them. */
  types: readonly number[];
  /** Result columns as described by the server, with the environment in which that was. */
  columns: readonly ColumnDescription[] | undefined;
  columnsIn: Verdict['environment'] | undefined;
  /** Its result columns as the record names them, see result-columns.ts. */
  layout: string | undefined;
}

/** Bound to values. The values are taken out of the copied message when somebody asks for them, which most commands do not. */
export class Portal {
  readonly name: string;
  readonly statement: Prepared;
  readonly resultFormats: readonly number[];
  confirmed = false;
  readonly batch: number;
  /** From a Describe of this portal. */
  plan: RowPlan | undefined;
  /** A Describe is under way whose answer will be there before the rows are. */
  describing = false;
  /** Its rows are those of a name (EXECUTE, FETCH), and it has begun: what that name means by now describes other rows. */
  begun = false;
  /** Approved and begun: what is left of its rows needs no second approval. */
  released = false;
  /** The gateway has ended the implicit transaction that it was bound in: it is bound again before it runs. */
  unbound = false;
  /** Its result columns and their formats as the record names them, see result-columns.ts. */
  layout: string | undefined;
  /** The Bind message, and where its values lie. */
  readonly bound: BoundValues;

  /** @param bytes a copy of the message. @param origin what the offsets in its header count from */
  constructor(message: BindHeader, statement: Prepared, bytes: Buffer, origin: number, batch: number) {
    this.name = message.portal;
    this.statement = statement;
    this.resultFormats = message.resultFormats;
    this.batch = batch;
    this.bound = { bytes, origin, places: message.parameters };
  }

  /** Values as bound, null for NULL. */
  get parameters(): readonly (Buffer | null)[] {
    const { bytes, origin, places } = this.bound;
    return places.map(({ start, length }) =>
      length < 0 ? null : bytes.subarray(start - origin, start - origin + length),
    );
  }

  /** Format of each value: 0 text, 1 binary. */
  get formats(): readonly (0 | 1)[] {
    return this.bound.places.map(({ format }) => format);
  }
}

export class Reply {
  readonly kind: ReplyKind;
  /** Set for what runs statements. */
  verdict: Verdict | undefined;
  prepared: Prepared | undefined;
  portal: Portal | undefined;
  /** For close: what is forgotten on success, with the statement or portal that it then was. */
  name = '';
  /** Made by the gateway: none of the answer goes to the client. */
  swallow = false;
  /** The client does not hear that it went well (NoData, BindComplete); of an error it does. */
  quiet = false;
  /** Put in the place of the server's ErrorResponse: the message that went out was made to fail. */
  substitute: Buffer | undefined;
  /** Number of the command in its session, for the record. */
  command = 0;
  startedAt = 0;
  rows = 0;
  bytes = 0;
  /** Which sub-statement of a Query string the server is at. */
  statement = 0;
  failed = false;
  /** The client has its error already: what else the server says of this is dropped, up to ReadyForQuery. */
  told = false;
  /** CommandComplete is kept back in `withheld` until the gateway knows that the change may stay. */
  withholdComplete = false;
  withheld: Buffer | undefined;
  /** Called when the server has answered (true), refused or skipped it (false). */
  settled: ((ok: boolean) => void) | undefined;
  /** A gateway's own query: gets the first value of each row. */
  collect: ((value: string) => void) | undefined;

  constructor(kind: ReplyKind) {
    this.kind = kind;
  }
}

const COPY_END = new Reply('copyEnd');

/** Places that are kept while nothing is owed. */
const KEPT_PLACES = 1024;

/** First in, first out, without moving elements on every removal. */
export class ReplyQueue {
  /** Undefined outside of [head, tail): setting the length of an array leaves the compiled code. */
  #items: (Reply | undefined)[] = [];
  #head = 0;
  #tail = 0;

  get size(): number {
    return this.#tail - this.#head;
  }

  get head(): Reply | undefined {
    return this.#items[this.#head];
  }

  /** Whatever is still owed before the next Sync answers to nobody: the client was told of an error. */
  swallowToSync(): void {
    for (let i = this.#head; i < this.#tail; i++) {
      const item = this.#items[i];
      if (item === undefined || item.kind === 'sync') return;
      item.swallow = true;
    }
  }

  /** The client ends COPY data while answers are still owed: the copy may be one of those that was asked for. */
  copyEnded(): void {
    if (this.size > 0) this.push(COPY_END);
  }

  /**
   * The server reads COPY data for the head: it answers no Sync that came before the end of the data. True when that end was sent
   * already.
   */
  copyBegins(): boolean {
    const next = this.#head + 1;
    while (this.#items[next]?.kind === 'sync') this.#remove(next);
    if (this.#items[next]?.kind !== 'copyEnd') return false;
    this.#remove(next);
    return true;
  }

  #remove(index: number): void {
    this.#items.splice(index, 1);
    this.#tail--;
  }

  push(reply: Reply): void {
    this.#items[this.#tail++] = reply;
  }

  shift(): Reply | undefined {
    const item = this.#items[this.#head];
    if (item === undefined) return undefined;
    this.#items[this.#head++] = undefined;
    while (this.#items[this.#head]?.kind === 'copyEnd') this.#items[this.#head++] = undefined;
    if (this.#head === this.#tail) {
      if (this.#items.length > KEPT_PLACES) this.#items = [];
      this.#head = 0;
      this.#tail = 0;
    } else if (this.#head > KEPT_PLACES) {
      this.#items = this.#items.slice(this.#head, this.#tail);
      this.#tail -= this.#head;
      this.#head = 0;
    }
    return item;
  }
}

/** A statement that is on its way. */
export function preparedOf(
  name: string,
  text: string,
  verdict: Verdict,
  batch: number,
  types: readonly number[],
): Prepared {
  const columns = undefined;
  return {
    name,
    text,
    bySql: false,
    verdict,
    confirmed: false,
    batch,
    types,
    columns,
    columnsIn: undefined,
    layout: undefined,
  };
}

const NO_VALUES: BindHeader = { portal: '', statement: '', parameters: [], resultFormats: [] };

/** A portal of the gateway's own: unnamed, without values, results in text. */
export function ownPortal(statement: Prepared, batch: number): Portal {
  return new Portal(NO_VALUES, statement, Buffer.alloc(0), 0, batch);
}
