import type { ContentDetectors } from '../detectors.ts';
import type { CountMask } from '../port.ts';
import type { JsonPlace } from './place.ts';
import type { BodyLimits, BodyTransform } from './port.ts';

export type JsonLimits = Pick<BodyLimits, 'scalar' | 'key' | 'depth'> & {
  /** Longest value that is put together for `JsonPlace.whole`. Bytes. */
  readonly whole: number;
};

export interface JsonRewriterOptions {
  readonly root: JsonPlace | undefined;
  /** What is looked for in every string, key and number that no mask of its place covers. */
  readonly content: ContentDetectors | undefined;
  readonly count: CountMask;
  readonly limits: JsonLimits;
  /**
   * A string that may hold a document of its own: what is shown instead of its text, undefined for the same; 'no document' when it is none
   * and is searched as text.
   */
  readonly nested: ((text: Buffer, place: JsonPlace | undefined) => Buffer | undefined | 'no document') | undefined;
  /** In place of a string that is too long to be looked into for documents. */
  readonly withheld: Buffer;
  /** Bytes in strings need not be UTF-8. */
  readonly anyBytes?: boolean;
  /** Stops behind the first document; numbers and words alone are no document then. */
  readonly single?: boolean;
}

export interface JsonRewriter extends BodyTransform {
  /** With `single`: how many bytes of the last chunk stand behind the document; undefined while it goes on. */
  readonly rest: number | undefined;
}
