import { endOfString } from '../wire/decode.ts';
import { F } from '../wire/messages.ts';

/**
 * Prepared statements of the protocol, over several connections: their Parse is kept, and sent again where a connection that has not
 * seen it is asked for one. `known` are those that the client has; `present` those that the connection of now has.
 */
export class Statements {
  readonly #known = new Map<string, Buffer>();
  readonly #present = new Set<string>();
  /** Parse and Close that are not answered, in order. */
  readonly #pending: Pending[] = [];

  /** A new connection has none. */
  connected(): void {
    this.#present.clear();
    this.#pending.length = 0;
  }

  /** The Parse messages that have to go before this one. */
  before(type: number, bytes: Buffer): readonly Buffer[] {
    const missing = this.#needed(type, bytes).filter((name) => this.#known.has(name) && !this.#present.has(name));
    return missing.map((name) => {
      const parse = this.#known.get(name)!;
      this.#present.add(name);
      this.#pending.push({ type: 'parse', name, previous: parse, own: true });
      return parse;
    });
  }

  #needed(type: number, bytes: Buffer): readonly string[] {
    switch (type) {
      case F.Bind: {
        const portal = endOfString(bytes, HEAD, bytes.length);
        return [nameAt(bytes, portal + 1)];
      }
      case F.Describe:
        return bytes[HEAD] === STATEMENT ? [nameAt(bytes, HEAD + 1)] : [];
      case F.Query:
      case F.Parse:
        return namesPrepared(bytes) ? [...this.#known.keys()] : [];
      default:
        return [];
    }
  }

  /** A message of the client's goes out. */
  sent(type: number, bytes: Buffer): void {
    switch (type) {
      case F.Parse: {
        const name = nameAt(bytes, HEAD);
        this.#pending.push({
          type: 'parse',
          name,
          previous: name === '' ? undefined : this.#known.get(name),
          own: false,
        });
        this.#known.set(name, Buffer.from(bytes));
        this.#present.add(name);
        return;
      }
      case F.Close:
        if (bytes[HEAD] === STATEMENT) this.#pending.push({ type: 'close', name: nameAt(bytes, HEAD + 1) });
        else this.#pending.push({ type: 'close', name: undefined });
        return;
      case F.Query:
        this.#known.delete('');
        return;
      default:
    }
  }

  /** ParseComplete. True when it answers a Parse of ours, which the client knows nothing of. */
  parsed(): boolean {
    const at = this.#pending.findIndex(({ type }) => type === 'parse');
    const [done] = at < 0 ? [] : this.#pending.splice(at, 1);
    return done?.type === 'parse' && done.own;
  }

  /** CloseComplete. */
  closed(): void {
    const at = this.#pending.findIndex(({ type }) => type === 'close');
    const [done] = at < 0 ? [] : this.#pending.splice(at, 1);
    if (done?.name === undefined) return;
    this.#known.delete(done.name);
    this.#present.delete(done.name);
  }

  /** ReadyForQuery: what is not answered by now failed, or was skipped. */
  settled(): void {
    for (const pending of this.#pending.splice(0)) {
      if (pending.type === 'close') continue;
      this.#present.delete(pending.name);
      if (pending.previous === undefined) this.#known.delete(pending.name);
      else this.#known.set(pending.name, pending.previous);
    }
  }

  /** Only these are left: SQL took the others away. */
  keep(names: ReadonlySet<string>): void {
    for (const name of this.#known.keys())
      if (name !== '' && this.#present.has(name) && !names.has(name)) this.#known.delete(name);
  }
}

type Pending =
  | { readonly type: 'parse'; readonly name: string; readonly previous: Buffer | undefined; readonly own: boolean }
  | { readonly type: 'close'; readonly name: string | undefined };

const HEAD = 5;
const STATEMENT = 'S'.charCodeAt(0);

function nameAt(bytes: Buffer, start: number): string {
  return bytes.toString('utf8', start, endOfString(bytes, start, bytes.length));
}

/** Whether SQL may speak of prepared statements: rather once too often. */
export function namesPrepared(bytes: Buffer): boolean {
  return /\b(?:deallocate|discard|execute)\b/i.test(bytes.toString('latin1'));
}
