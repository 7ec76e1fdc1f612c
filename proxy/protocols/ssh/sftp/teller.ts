import { printable } from './paths.ts';
import type { FileJudge } from './port.ts';

/** Lines beside the protocol: a tool that tries ten thousand files gets these, and the rest in its answers. */
const MAX_LINES = 32;

/** Tells the client each thing once. */
export function createTeller(judge: Pick<FileJudge, 'tell'>): (line: string) => void {
  const told = new Set<string>();
  return (line) => {
    if (told.size > MAX_LINES || told.has(line)) return;
    told.add(line);
    judge.tell(
      told.size > MAX_LINES
        ? 'Sallyport: what else is denied here is in the answers and in the record.'
        : printable(line),
    );
  };
}
