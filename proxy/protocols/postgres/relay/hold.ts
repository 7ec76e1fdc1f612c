import type { Verdict } from '../judge.ts';
import type { Portal } from './replies.ts';

/** The command that a message asks to run, with what it brings besides its text. */
export interface AskedCommand {
  readonly text: string;
  readonly portal: Portal | undefined;
  /** Of a FunctionCall, which has no portal. */
  readonly parameters?: readonly (Uint8Array | null)[];
  readonly formats?: readonly (0 | 1)[];
}

/** Rows of COPY FROM STDIN come after its approval: nobody could have seen them. */
export function readsClient(verdict: Verdict): boolean {
  return verdict.analysis.statements.some(({ effects }) =>
    effects.some((effect) => effect.type === 'copy' && effect.direction === 'from' && effect.via === 'stdio'),
  );
}
