import { performance } from 'node:perf_hooks';
import type { LineWriter } from './line-writer.ts';

/** Time for the record, handed in so that tests can move it. */
export interface RecordClock {
  /** Milliseconds since 1970 (UTC), as `Date.now` gives them: may jump. */
  wall(): number;
  /** Milliseconds since some fixed moment, with fractions, as `performance.now` gives them: never jumps. */
  monotonic(): number;
}

export const systemClock: RecordClock = { wall: () => Date.now(), monotonic: () => performance.now() };

/** How far the clocks may drift apart before the wall clock wins: `wall` itself is only exact to 1 ms. */
const DRIFT_MS = 5;
const DIGITS = Array.from({ length: 1000 }, (_, value) => String(value).padStart(3, '0'));

/**
 * RFC 3339 in UTC with microseconds, such as `2026-03-01T10:11:12.000123Z`, at a cost that an event can bear: the part up to
 * the second is made once per second. Between two steps of the wall clock the times never go backwards.
 */
export class Timestamps {
  /** The monotonic clock at the time given last, in milliseconds: whoever needs both asks the clock once. */
  monotonic = 0;
  /** Days since 1970 of the time given last: segments rotate when it changes. */
  day = 0;
  readonly #clock: RecordClock;
  #offset: number;
  #second = Number.NaN;
  #prefix = '';
  #prefixBytes = Buffer.alloc(0);

  constructor(clock: RecordClock = systemClock) {
    this.#clock = clock;
    this.#offset = clock.wall() - clock.monotonic();
  }

  now(): string {
    const micros = this.#micros();
    return `${this.#prefix}${DIGITS[Math.floor(micros / 1000)]}${DIGITS[micros % 1000]}Z`;
  }

  /** Writes what `now` returns. */
  write(line: LineWriter): void {
    const micros = this.#micros();
    line.copy(this.#prefixBytes);
    line.reserve(7);
    const { bytes } = line;
    let rest = micros;
    for (let at = line.length + 5; at >= line.length; at--) {
      const tens = (rest / 10) | 0;
      bytes[at] = 0x30 + rest - tens * 10;
      rest = tens;
    }
    bytes[line.length + 6] = 0x5a;
    line.length += 7;
  }

  /** Of the second that the prefix says. */
  #micros(): number {
    this.monotonic = this.#clock.monotonic();
    let time = this.#offset + this.monotonic;
    let second = Math.floor(time / 1000);
    if (second !== this.#second) {
      const wall = this.#clock.wall();
      if (Math.abs(wall - time) > DRIFT_MS) {
        this.#offset += wall - time;
        time = wall;
        second = Math.floor(time / 1000);
      }
      this.#second = second;
      this.day = Math.floor(second / 86_400);
      this.#prefix = `${new Date(second * 1000).toISOString().slice(0, 19)}.`;
      this.#prefixBytes = Buffer.from(this.#prefix);
    }
    return Math.floor((time - second * 1000) * 1000);
  }
}
