import type { CompiledConnection, PolicyScope } from '../../../policy/bundle.ts';
import type { HttpCommand } from '../../../policy/command.ts';
import type { Answer, BodyTransform, Exchange, RequestHead, ResponseHead } from './core/port.ts';
import type { LaneReport } from './errors.ts';

/** A request that was understood: what policy decides on, and what goes with it. */
export interface AskedRequest {
  /** Of the command. */
  readonly text: string;
  /** Made when it is asked for, where the text is enough for most. */
  readonly command: HttpCommand;
  /** Read already in order to understand it; undefined: it streams. */
  readonly body: Buffer | undefined;
  /** How it is answered where it is spoken otherwise than in plain HTTP. */
  readonly dialect?: SpokenRequest;
}

/**
 * A protocol whose messages are bodies of HTTP, such as MCP. It says what a request means, how a refusal of it looks, and takes out of
 * an answer what the caller may not see; everything else is done as for every request.
 */
export interface Dialect {
  /** Whether a request is of it: by connection and head alone, so that no body decides by what it is judged. */
  speaks(connection: CompiledConnection, head: RequestHead): boolean;
  /**
   * Reads the body and says what it means. Called again when policy has changed before it was decided on.
   * @throws HttpRefused; the signal's reason
   */
  understand(exchange: Exchange): AskedRequest | Promise<AskedRequest>;
}

/** One request of a dialect. */
export interface SpokenRequest {
  /** In the words of the dialect; undefined: as `application/problem+json`. @param problem what would be answered otherwise */
  refuse?(report: LaneReport, problem: Answer): Answer | undefined;
  /** Sees the answer of the target before masking; undefined: it goes on as it is. What it throws refuses it. */
  respond?(
    head: ResponseHead,
    scope: PolicyScope,
  ): { readonly head: ResponseHead; readonly transform: BodyTransform } | undefined;
  /** What an approval covers in place of the body: the same for the same request at another attempt. */
  readonly approved?: Buffer;
  /** Fields that say nothing of what is asked for, besides those of every request. */
  readonly incidental?: ReadonlySet<string>;
}
