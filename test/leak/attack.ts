import type { Step } from './wire.ts';

/** One session of an agent that wants a protected value. */
export interface Attack {
  /** The way on which the value would come out. */
  readonly channel: string;
  readonly steps: readonly Step[];
  /** The answer would tell something even without the value in it, so that it must be refused, not only clean. */
  readonly oracle?: true;
}

/** Sessions of one statement each. */
export const each = (channel: string, statements: readonly string[]): Attack[] =>
  statements.map((statement) => ({ channel, steps: [statement] }));

/** Sessions whose answers would tell by themselves. */
export const oracles = (channel: string, statements: readonly string[]): Attack[] =>
  statements.map((statement) => ({ channel, steps: [statement], oracle: true }));

export const sessions = (channel: string, list: readonly (readonly Step[])[]): Attack[] =>
  list.map((steps) => ({ channel, steps }));
