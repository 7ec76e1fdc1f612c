/** Sizes of a terminal as they are sent: JSON objects one after the other (k8s.io/client-go/tools/remotecommand TerminalSize). */
export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

const MOST_WAITING = 1024;

/** Reads them however they are cut. What is none of them is passed over. */
export function createSizeReader(): (bytes: Buffer) => readonly TerminalSize[] {
  let rest = '';
  return (bytes) => {
    const parts = (rest + bytes.toString('latin1')).split('}');
    rest = (parts.pop() ?? '').slice(-MOST_WAITING);
    return parts.flatMap((part) => {
      const [columns, rows] = [numberOf(part, 'Width'), numberOf(part, 'Height')];
      return columns === undefined || rows === undefined ? [] : [{ columns, rows }];
    });
  };
}

function numberOf(part: string, name: string): number | undefined {
  const [, digits] = new RegExp(`"${name}"\\s*:\\s*(\\d{1,5})\\b`, 'i').exec(part) ?? [];
  return digits === undefined || Number(digits) > 65_535 ? undefined : Number(digits);
}

export const sizeMessage = ({ columns, rows }: TerminalSize): Buffer =>
  Buffer.from(`${JSON.stringify({ Width: columns, Height: rows })}\n`);
