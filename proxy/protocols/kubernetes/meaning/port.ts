import type { KubernetesCommand } from '../../../../policy/command.ts';
import type { RequestInfo, RequestLine } from '../request/request-info.ts';
import type { Path } from './pointer.ts';

/**
 * What a request to an API server means. Two steps, so that the API server is asked only where a rule needs it:
 *
 * 1. `understand` reads URL and body. Where the outcome depends on what is there already it says the worst: a policy that allows the
 *    command so allows the request whatever it turns out to do.
 * 2. Where that is not allowed, or a person will look at it, and there is a `refine`, that asks the API server what would become of the
 *    request (`dryRun=All`), and says what it is. The lane decides anew. What `certain` says is denied need not be asked about.
 *
 * What is forwarded has `body` of the understanding that was decided on, where it has one. It is good for now: after a hold the lane
 * understands and refines again, and decides on that.
 */

/** A request as the lane has it. */
export interface MeantRequest extends RequestLine {
  /** Encoded anew, as it goes to the API server: path and query. */
  readonly target: string;
  /** The `content-type` header as sent; undefined: none. */
  readonly contentType: string | undefined;
}

/** A question to the API server, as the caller of the request: it may ask no more than the caller may. Asked for JSON. */
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

/** What an API server can do beyond what is built in; one for each connection, see `discovery.ts`. */
export interface Discovery {
  /** Whether `RESOURCE/scale` is served, in whatever version of the group. Undefined: it does not say. */
  scales(info: RequestInfo, ask: AskApiServer, signal: AbortSignal): Promise<boolean | undefined>;
  /** Where the number stands that its Scale is about, by its definition. Undefined: the caller may not read that, or there is none. */
  replicaPaths(info: RequestInfo, ask: AskApiServer, signal: AbortSignal): Promise<readonly Path[] | undefined>;
  /** Whether a request with `dryRun=All` is tried and not done. What does not say so would do it. */
  dryRuns(info: RequestInfo, ask: AskApiServer, signal: AbortSignal): Promise<boolean>;
}

export interface Asking {
  readonly ask: AskApiServer;
  readonly discovery: Discovery;
  readonly signal: AbortSignal;
}

/** What became of the question: Secrets are in it as they are, so whoever shows it masks it (`preview.ts` makes text of it). */
export interface DryRun {
  /** The object as it is; undefined: there is none, or nobody may read it. */
  readonly before: unknown;
  /** The object as it would be. */
  readonly after: unknown;
  /** The request that is forwarded holds for the object as it was read alone, or there was none. */
  readonly pinned: boolean;
}

export interface Understanding {
  readonly info: RequestInfo;
  readonly command: KubernetesCommand;
  /**
   * What the request is whatever its body does: where that is denied, nothing has to be found out, unless a rule looks at the object
   * (`PolicyScope.needs.object`) and there is none in the statements yet. Absent: nothing is certain.
   */
  readonly certain?: KubernetesCommand;
  /**
   * Finds out more; absent: there is nothing to find out.
   * @throws where the API server gives no answer; the signal's reason
   */
  readonly refine?: (asking: Asking) => Promise<Understanding>;
  /**
   * Goes to the API server in place of the client's body, with this media type: what was judged, written in one way only, or narrowed to
   * the state that it was judged on (`metadata.resourceVersion`), so that the API server refuses it (409) when that has changed.
   */
  readonly body?: {
    readonly bytes: Buffer;
    readonly contentType: string;
    /** The version in it is ours: a client that gets 409 for it has done nothing wrong, and may have all of it asked and decided anew. */
    readonly pinned?: true;
  };
  readonly dryRun?: DryRun;
  /**
   * The API server refused the dry run, as it would refuse the request. `command` says then only what is certain of the request: where
   * policy does not deny that, this is the answer that the client gets. Such a request is never forwarded.
   */
  readonly refused?: MeaningAnswer;
}

/** A body that is not understood; the words complete "the body is not understood: ...". Nothing of the kind is forwarded. */
export interface BodyRefusal {
  readonly status: 400 | 415;
  readonly refusal: string;
}
