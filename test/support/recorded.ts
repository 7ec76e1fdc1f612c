/** What the record of a state folder says, as it lies on disk. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { parseEvent, type RecordedEvent } from '../../record/format.ts';
import { listSegments } from '../../record/segment.ts';

/** All events in the order of their segments. @throws when a line is damaged, but for a last one that a crash has cut */
export async function recordedEvents(state: string): Promise<RecordedEvent[]> {
  const events: RecordedEvent[] = [];
  for (const segment of await listSegments(path.join(state, 'record'))) {
    const lines = (await readFile(segment.path, 'utf8')).split('\n');
    lines.pop();
    for (const line of lines) {
      const event = parseEvent(line);
      if (event === undefined) throw new Error(`damaged: ${line.slice(0, 200)}`);
      events.push(event);
    }
  }
  return events;
}

/** Texts of the commands that were received, in order. */
export async function recordedTexts(state: string): Promise<string[]> {
  const events = await recordedEvents(state);
  return events.filter(({ e }) => e === 'command.received').map((event) => String(event['text']));
}
