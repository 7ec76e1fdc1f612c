/**
 * What a gateway does with its record, without the gateway: repairs what was left, writes events, sends them to the archive. To be killed.
 * Arguments: state folder, archive's URL, CA, certificate, key, `last-copy` when nobody starts on that folder again. After each turn it prints the number of the last event that it flushed.
 */
import { writeSync } from 'node:fs';
import path from 'node:path';
import { Registry } from 'prom-client';
import { startFollowers } from '../../../archive/followers.ts';
import { createRecorder } from '../../../proxy/recording/writer.ts';
import { recoverRecord } from '../../../record/recover.ts';

const [, , state = '', url = '', caFile = '', certificateFile = '', keyFile = '', lastCopy = ''] = process.argv;
const root = path.join(state, 'record');
await recoverRecord({ root });
const say = (facts: Readonly<Record<string, unknown>>, message: string): void =>
  void process.stderr.write(`${message} ${JSON.stringify(facts)}\n`);
const followers = await startFollowers({
  root,
  positions: path.join(state, 'positions'),
  sinks: [],
  archive: { type: 'remote', url, caFile, certificateFile, keyFile },
  store: undefined,
  version: '0',
  registry: new Registry(),
  log: { info: say, warn: say, error: say },
  backoff: { firstMs: 20, maxMs: 100, random: Math.random },
});
const recorder = createRecorder({ root, pid: process.pid, segmentBytes: 60_000, syncDelayMs: 20 });
const stream = recorder.stream('shop', 'db');
let seq = 0;
const writing = setInterval(() => {
  let n = 0;
  for (let count = 0; count < 20; count++) {
    n = stream.append(
      'command.received',
      `"session":"p${process.pid}","seq":${++seq},"text":"${'x'.repeat(seq % 300)}"`,
    );
  }
  stream.flush();
  writeSync(1, `${n}\n`);
}, 5);
process.once('SIGTERM', async () => {
  clearInterval(writing);
  await recorder.close();
  writeSync(1, 'stopping\n');
  await followers.stop(AbortSignal.timeout(20_000), lastCopy === 'last-copy');
});
