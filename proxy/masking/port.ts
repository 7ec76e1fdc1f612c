import type { Transform } from '../../policy/masking.ts';

/** Grows by doubling; reused from one turn to the next. `bytes` may be replaced by `reserve`: read it again after each call. */
export interface ByteSink {
  bytes: Buffer;
  length: number;
  /** Makes room for `count` more bytes after `length`. */
  reserve(count: number): void;
}

/** How one result column is treated on the wire. */
export interface ColumnTreatment {
  /** A protected column's transform (text or binary by `format`), or undefined: then only content detectors apply. */
  readonly transform?: Transform;
  /** Key for tokenize; present exactly when transform.type is `tokenize`. */
  readonly tokenKey?: Uint8Array;
  /** `NAMESPACE/NAME` of the MaskingRules behind `transform`: each counts the values that it replaced. */
  readonly rules?: readonly string[];
  readonly typeOid: number;
  /**
   * True when the catalog says that a type without a fixed OID is stored as plain text, such as citext. Left out: a type that is
   * not known to hold text is masked as NULL.
   */
  readonly holdsText?: boolean;
  /** 0 text, 1 binary (PostgreSQL protocol, section Formats and Format Codes). */
  readonly format: 0 | 1;
}

/** Values replaced so far, by rule (`NAMESPACE/NAME`) or detector name: written into the record. */
export interface MaskCounts {
  readonly byName: ReadonlyMap<string, number>;
}

/** Counts one replaced value. */
export type CountMask = (name: string) => void;

/** Key bytes for a `tokenize` transform; undefined when there is none, which is an error where the mask is compiled. */
export type TokenKeys = (transform: Extract<Transform, { type: 'tokenize' }>) => Uint8Array | undefined;
