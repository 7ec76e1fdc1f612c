/** A line that both have, or only one of them. */
export interface DiffLine {
  readonly sign: ' ' | '-' | '+';
  readonly text: string;
}

/** Lines beyond which all of one text stands before all of the other: the table grows with their product. */
const MOST_LINES = 4000;

/** The shortest edit from one text to the other, line by line (longest common subsequence). */
export function lineDiff(before: string, after: string): DiffLine[] {
  const [a, b] = [before.split('\n'), after.split('\n')];
  const only = (sign: '-' | '+', lines: readonly string[]): DiffLine[] => lines.map((text) => ({ sign, text }));
  if (a.length > MOST_LINES || b.length > MOST_LINES) return [...only('-', a), ...only('+', b)];
  const width = b.length + 1;
  const common = new Uint16Array((a.length + 1) * width);
  const at = (i: number, j: number): number => common[i * width + j] ?? 0;
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i * width + j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const lines: DiffLine[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      lines.push({ sign: ' ', text: a[i] ?? '' });
      i++;
      j++;
    } else if (at(i + 1, j) >= at(i, j + 1)) lines.push({ sign: '-', text: a[i++] ?? '' });
    else lines.push({ sign: '+', text: b[j++] ?? '' });
  }
  return [...lines, ...only('-', a.slice(i)), ...only('+', b.slice(j))];
}

/** Only what changed, with some lines around it; a gap is one line `…`. */
export function withContext(lines: readonly DiffLine[], around: number): DiffLine[] {
  const kept = lines.map((_, index) =>
    lines.slice(Math.max(0, index - around), index + around + 1).some(({ sign }) => sign !== ' '),
  );
  return lines.flatMap((line, index) => {
    if (kept[index] === true) return [line];
    return index === 0 || kept[index - 1] === true ? [{ sign: ' ', text: '…' } as const] : [];
  });
}
