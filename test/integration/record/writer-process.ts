/**
 * A process that writes the record as the gateway does, to be killed. Arguments: folder, events per turn, PEM of the key that signs
 * checkpoints, which are anchored in FOLDER-anchors.
 * After each turn it reports, on standard output, the number of the last event that was flushed.
 */
import { writeSync } from 'node:fs';
import { createRecorder } from '../../../proxy/recording/writer.ts';
import { createAnchors } from '../../../record/anchors.ts';
import { noteSigner } from '../../../record/note.ts';

const [, , root = '', perTurn = '1', key] = process.argv;
const recorder = createRecorder({
  ...{ root, pid: process.pid, segmentBytes: 20_000, checkpointMs: 20 },
  ...(key === undefined ? {} : { signer: noteSigner(key) }),
});
recorder.onCheckpoint(
  createAnchors(`${root}-anchors`, (error) => {
    throw error;
  }),
);
const stream = recorder.stream('shop', 'db');
stream.append('session.start', `"session":"p${process.pid}"`);
stream.flush();

let i = 0;
function turn(): void {
  let n = 0;
  for (let count = 0; count < Number(perTurn); count++) {
    n = stream.append('command.received', `"session":"p${process.pid}","seq":${++i},"text":"${'x'.repeat(i % 500)}"`);
  }
  stream.flush();
  // What stands on the pipe was flushed before: the reader holds the record to it.
  writeSync(1, `${n}\n`);
  setImmediate(turn);
}
turn();
