import { KubeError } from './errors.ts';

const NEWLINE = 0x0a;

/**
 * Splits a stream at newlines; empty lines are left out. @throws KubeError SPB012 for a line longer than `maxBytes`, SPB013 when the
 * stream ends within a line: half an event must not pass for none.
 */
export async function* linesOf(
  chunks: AsyncIterable<Buffer>,
  maxBytes: number,
  object: string,
  onBytes?: () => void,
): AsyncGenerator<string, void, undefined> {
  let held: Buffer[] = [];
  let heldBytes = 0;
  for await (const chunk of chunks) {
    onBytes?.();
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      const rest = chunk.subarray(start, end);
      start = end + 1;
      if (heldBytes + rest.length > maxBytes) throw new KubeError('SPB012', [maxBytes, object], { object });
      const line = held.length === 0 ? rest : Buffer.concat([...held, rest]);
      held = [];
      heldBytes = 0;
      if (line.length > 0) yield line.toString('utf8');
    }
    if (start === chunk.length) continue;
    held.push(chunk.subarray(start));
    heldBytes += chunk.length - start;
    if (heldBytes > maxBytes) throw new KubeError('SPB012', [maxBytes, object], { object });
  }
  if (heldBytes > 0) throw new KubeError('SPB013', ['it ends within an event', object], { object });
}
