import type { MaskError } from '../errors.ts';
import type { CountMask } from '../port.ts';

/** Bodies and header fields of HTTP as masking sees them. The lanes over HTTP use it; nothing here knows how messages travel. */

/** Names and values in turn, names in lower case, as in Node's `rawHeaders`. */
export type HeaderFields = readonly string[];

/**
 * Rewrites a body on its way: synchronous, with bounded memory. What it throws breaks the answer off: a MaskError where nothing more
 * of the body may be shown.
 */
export interface BodyTransform {
  /** Undefined: nothing to send yet. The chunk is valid during the call only; what is returned may be a part of it. */
  write(chunk: Buffer): Buffer | undefined;
  /** What is left, at the end of a body that came whole. */
  end(): Buffer | undefined;
}

/** Head of an answer of a target. */
export interface AnswerHead {
  readonly status: number;
  readonly headers: HeaderFields;
}

/** What becomes of an answer. The head goes to the client in place of the target's, whatever becomes of the body. */
export type AnswerMask =
  /** The body goes as it is. */
  | { readonly body: 'untouched'; readonly head: AnswerHead }
  /** The body goes through the transform. Its length is not known. */
  | { readonly body: 'masked'; readonly head: AnswerHead; readonly transform: BodyTransform }
  /** Nothing of the answer may be shown: the client gets a 502 with this error (a body that was not read is thrown away). */
  | { readonly body: 'refused'; readonly error: MaskError };

/** Everything that is masked in HTTP messages of one subject on one connection. Made once per bundle, used for all messages. */
export interface BodyMasks {
  /** True when nothing is masked: then none of the other members changes anything. */
  readonly empty: boolean;
  /**
   * Header fields of a request as the target may get them: an answer must come whole (no Range, no delta) and in an encoding that can be
   * looked into (`accept-encoding: identity`).
   */
  request(headers: HeaderFields): HeaderFields;
  /**
   * How an answer is masked.
   * @param about the request: an answer to HEAD has no body
   */
  answer(head: AnswerHead, about: AnswerContext): AnswerMask;
  /** Trailers of an answer. */
  trailers(headers: HeaderFields, count: CountMask): HeaderFields;
  /** A single text that goes to the client by another way, such as a reason or a log line. */
  text(text: string, count: CountMask): string;
}

export interface AnswerContext {
  /** Of the request. */
  readonly method: string;
  readonly count: CountMask;
}

export interface BodyLimits {
  /** Longest scalar of JSON that is looked into; a longer one is replaced whole. Bytes. */
  readonly scalar: number;
  /** Longest key of JSON; a longer one ends the body. Bytes. */
  readonly key: number;
  /** Deepest nesting of JSON. */
  readonly depth: number;
  /** Longest event of a text/event-stream, and longest form. Bytes. */
  readonly event: number;
  /** Most that a compressed body may become. Bytes. */
  readonly inflated: number;
  /** Most that a compressed body may grow, as a factor, beyond its first MiB. */
  readonly ratio: number;
}

/** Looks for what came from masking in a body that goes to a target. */
export interface WriteCheck {
  /**
   * A whole body.
   * @returns the error to refuse the request with, or undefined
   */
  whole(body: Buffer, contentType: string | undefined): MaskError | undefined;
  /** For a body that is streamed: hands every byte on as it is, and throws the MaskError. */
  stream(contentType: string | undefined): BodyTransform;
  /** Path, query and header values of a request. */
  text(text: string): MaskError | undefined;
}
