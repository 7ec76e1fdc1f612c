/** Answers that are asked for again and again: each is kept for a short while, and asked for once at a time. */
export interface Remembered<T> {
  /** @throws what `ask` throws; that is not remembered */
  get(key: string, ask: () => Promise<T>): Promise<T>;
}

/**
 * @param lifeMs how long an answer is believed @param now milliseconds of a clock that never goes back
 * @param most answers that are kept; the oldest go first
 */
export function createRemembered<T>(lifeMs: number, now: () => number, most = 10_000): Remembered<T> {
  const answers = new Map<string, { readonly until: number; readonly answer: Promise<T> }>();
  return {
    get(key, ask) {
      const known = answers.get(key);
      if (known !== undefined && known.until > now()) return known.answer;
      answers.delete(key);
      const answer = ask();
      const entry = { until: now() + lifeMs, answer };
      answers.set(key, entry);
      answer.catch(() => {
        if (answers.get(key) === entry) answers.delete(key);
      });
      if (answers.size > most) for (const oldest of answers.keys()) if (answers.delete(oldest)) break;
      return answer;
    },
  };
}
