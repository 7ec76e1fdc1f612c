import type { Exchange } from './exchange.ts';
import type { ByteSink, FileJudge } from './port.ts';

/** What the parts of one session share. */
export interface SessionContext {
  readonly judge: FileJudge;
  readonly exchange: Exchange;
  readonly toClient: ByteSink;
  /** A STATUS of ours. */
  status(id: number, code: number, message: string): Promise<void> | undefined;
  /** SSH_FX_PERMISSION_DENIED, and a line beside the protocol. */
  deny(id: number, message: string): Promise<void> | undefined;
  tell(line: string): void;
}
