import type { KubernetesCommand } from '../../../../policy/command.ts';
import type { RequestInfo, RequestLine } from '../request/request-info.ts';

/**
 * What a request to an API server means. Two steps, so that the API server is asked only where a rule needs it:
 *
 * 1. `understand` reads URL and body. Where the outcome depends on what is there already it says the worst: a policy that allows the
 *    command so allows the request whatever it turns out to do.
 * 2. Where that is not allowed, or a person will look at it, and there is something `open`, `refine` asks the API server what would
 *    become of it (`dryRun=All`), and says what it is. The lane decides anew, and forwards `Understanding.body` where there is one.
 */

/** A request as the lane has it. */
export interface MeantRequest extends RequestLine {
  /** Encoded anew, as it goes to the API server: path and query. */
  readonly target: string;
  /** The `content-type` header as sent; undefined: none. */
  readonly contentType: string | undefined;
}

/** A question to the API server, as the caller of the request: it may ask no more than the caller may. */
export interface MeaningAsk {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH';
  /** Path and query, encoded. */
  readonly target: string;
  /** Of `body`. */
  readonly contentType?: string;
  readonly body?: Buffer;
}

export interface MeaningAnswer {
  readonly status: number;
  readonly contentType: string | undefined;
  readonly body: Buffer;
}

/**
 * Asks the API server with `Accept: application/json`. Answers of any status are answers.
 * @throws where there is none, or it is too large
 */
export type AskApiServer = (question: MeaningAsk, signal: AbortSignal) => Promise<MeaningAnswer>;

/** What became of the question. */
export interface DryRun {
  /** The object as it is; undefined: there is none, or it has no name yet. */
  readonly before: unknown;
  /** The object as it would be. */
  readonly after: unknown;
}

export interface Understanding {
  readonly info: RequestInfo;
  readonly command: KubernetesCommand;
  /** What `refine` could find out, in words for the log; absent: nothing. */
  readonly open?: string;
  /**
   * Goes to the API server in place of the client's body, with this media type: what was judged, written in one way only, or narrowed to
   * the state that it was judged on (`metadata.resourceVersion`), so that the API server refuses it (409) when that has changed.
   */
  readonly body?: { readonly bytes: Buffer; readonly contentType: string };
  /** Of `refine`. Secrets are in it as they are: whoever shows it masks it. */
  readonly dryRun?: DryRun;
  /**
   * The API server refused the dry run: it would refuse the request too. Where policy has no objection to the request as `command` says
   * it, or to all that it could be, this is the answer that the client gets; it is never forwarded.
   */
  readonly refused?: MeaningAnswer;
}
