/** The worker thread of parse-pool.ts: a text in, its tree as JSON out. An exception ends it, and the pool starts another. */
import { parentPort } from 'node:worker_threads';
import { type JsonOutcome, parseToJson } from './parse.ts';

parentPort?.on('message', (sql: string) => {
  const reply: JsonOutcome = parseToJson(sql);
  parentPort?.postMessage(reply);
});
