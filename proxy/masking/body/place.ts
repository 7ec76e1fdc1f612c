import type { PathMask, PathNode } from '../fields.ts';

/** How the value of one place is masked. */
export interface PlaceMask extends PathMask {
  /** The value is base64 (RFC 4648): its bytes are masked, and what is shown is base64 again. */
  readonly base64?: boolean;
  /** Of an object or array every scalar below is masked, and its keys stay; absent: all of it is replaced by an empty one. */
  readonly leaves?: boolean;
}

/** A place in a document as masks tell places apart; a PathNode of field paths is one. Undefined stands for a place without masks below. */
export interface JsonPlace extends PathNode {
  readonly mask: PlaceMask | undefined;
  /** The value is put together whole and replaced by what this returns; the rewriter looks at nothing in it. */
  readonly whole?: (value: Buffer) => Buffer;
  /** Content is not looked for in the scalar: an identifier that clients hand back. */
  readonly plain?: boolean;
  step(key: string): JsonPlace | undefined;
  stepBytes?(bytes: Buffer, from: number, to: number): JsonPlace | undefined;
  stepIndex?(index: number): JsonPlace | undefined;
}
