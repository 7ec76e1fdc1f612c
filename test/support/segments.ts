/** Records for tests of what follows them: written by the real recorder, without a database. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { RecordStream } from '../../record/port.ts';
import { listSegments } from '../../record/segment.ts';

/** Adds `count` commands of one session. */
export function appendCommands(stream: RecordStream, count: number, text = 'SELECT 1'): void {
  for (let index = 0; index < count; index++) {
    const members = { session: 'session-1', seq: index + 1, text, verdict: 'Allow', rules: [] };
    stream.append('command.received', JSON.stringify(members).slice(1, -1));
  }
  stream.flush();
}

/** Content of every segment below a record, by its path there. */
export async function segmentBytes(root: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const segment of await listSegments(root)) {
    found.set(path.relative(root, segment.path), await readFile(segment.path, 'utf8'));
  }
  return found;
}
