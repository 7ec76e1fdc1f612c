import { Violation } from './messages.ts';

/**
 * Answers to one side's requests in the order of the requests (RFC 4254, sections 4 and 5.4): null comes from the other side, the rest is
 * ours and waits for what is before it.
 */
export type ReplyQueue = (null | (() => void))[];

/** Requests of one kind that may wait for their answers, and answers of ours that may wait behind them. */
const MAX_UNANSWERED = 1024;

/** @throws Violation */
export function replyInOrder(queue: ReplyQueue, run: () => void): void {
  if (queue.length === 0) run();
  else if (queue.push(run) > 2 * MAX_UNANSWERED) throw new Violation('too many requests without an answer');
}

/** The answer to the oldest request that was passed on has come: those of our own that waited for it follow. */
export function repliesAfter(queue: ReplyQueue): void {
  while (typeof queue[0] === 'function') queue.shift()?.();
}

/** A request was passed on that wants an answer. @throws Violation */
export function expectReply(queue: ReplyQueue): void {
  if (queue.push(null) > MAX_UNANSWERED) throw new Violation('too many requests without an answer');
}
