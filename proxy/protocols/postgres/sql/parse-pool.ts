/**
 * Large texts are parsed on a worker thread, one at a time. A worker that died, or that takes too long, is replaced when the
 * next text comes.
 */
import { Worker } from 'node:worker_threads';
import { type JsonOutcome, type ParseOutcome, readTree } from './parse.ts';

/** A text of 256 KiB takes about 0.2 s; more than this is an attack on the parser. */
const PARSE_TIMEOUT_MS = 10_000;
/** A tree that is longer than this as JSON is not worth the event loop's time. */
const MAX_TREE = 64 * 1024 * 1024;

interface Job {
  readonly worker: Worker;
  settle(outcome: JsonOutcome, keepWorker: boolean): void;
}

let worker: Worker | undefined;
let job: Job | undefined;
let queue: Promise<unknown> = Promise.resolve();

function start(): Worker {
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
  const made = new Worker(new URL(`./parse-worker${extension}`, import.meta.url));
  const lost = (): void => {
    if (worker === made) worker = undefined;
    if (job?.worker === made) job.settle({ message: 'the statement is nested too deeply' }, false);
  };
  made.on('message', (reply: JsonOutcome) => {
    if (job?.worker === made) job.settle(reply, true);
  });
  made.on('error', lost);
  made.on('exit', lost);
  // An idle worker does not keep the process alive.
  made.unref();
  return made;
}

/** Parses on the worker. Never rejects: what goes wrong there is a parse error here. */
export function parseInWorker(sql: string, signal?: AbortSignal): Promise<ParseOutcome> {
  const turn = queue.then(() => parseNow(sql, signal)).then(read);
  queue = turn;
  return turn;
}

function read(outcome: JsonOutcome): ParseOutcome {
  if (!('tree' in outcome)) return { ok: false, ...outcome };
  if (outcome.tree.length > MAX_TREE) return { ok: false, message: 'the statement is too complex' };
  return readTree(outcome.tree);
}

function parseNow(sql: string, signal: AbortSignal | undefined): Promise<JsonOutcome> {
  if (signal?.aborted === true) return Promise.resolve({ message: 'the session ended' });
  worker ??= start();
  const current = worker;
  current.ref();
  return new Promise((resolve) => {
    const settle = (outcome: JsonOutcome, keepWorker: boolean): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', aborted);
      job = undefined;
      current.unref();
      if (!keepWorker && worker === current) {
        worker = undefined;
        void current.terminate();
      }
      resolve(outcome);
    };
    const aborted = (): void => settle({ message: 'the session ended' }, false);
    const timer = setTimeout(
      () => settle({ message: 'the statement takes too long to parse' }, false),
      PARSE_TIMEOUT_MS,
    );
    signal?.addEventListener('abort', aborted, { once: true });
    job = { worker: current, settle };
    current.postMessage(sql);
  });
}
