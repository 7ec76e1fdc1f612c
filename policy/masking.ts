/** Masking as policy sees it: which columns, fields and contents of one connection are protected for one subject. */

export type Transform =
  | { readonly type: 'nullify' }
  | { readonly type: 'redact'; readonly with: string }
  | {
      readonly type: 'tokenize';
      readonly keyRef?: { readonly namespace: string; readonly name: string; readonly key: string };
    }
  | { readonly type: 'partial'; readonly keepFirst: number; readonly keepLast: number };

/** Stricter first: nullify > redact > tokenize > partial (policy.md, semantics 11). */
export const TRANSFORM_STRICTNESS = { nullify: 3, redact: 2, tokenize: 1, partial: 0 } as const;

export const DETECTORS = [
  'CreditCard',
  'IBAN',
  'Email',
  'PhoneNumber',
  'USSocialSecurityNumber',
  'IPAddress',
  'JWT',
  'PrivateKey',
  'AWSAccessKey',
  'GitHubToken',
  'BearerToken',
  'PasswordInURL',
] as const;
export type Detector = (typeof DETECTORS)[number];

export interface ColumnMask {
  readonly transform: Transform;
  /** True only when every rule that covers the column allows equality. */
  readonly allowEquality: boolean;
  /** `NAMESPACE/NAME` of the MaskingRules that cover it. */
  readonly rules: readonly string[];
}

export interface FieldMask {
  readonly match: string;
  readonly transform: Transform;
  readonly rule: string;
}

export interface ContentMask {
  readonly source: { readonly detector: Detector } | { readonly pattern: string };
  readonly transform: Transform;
  readonly rule: string;
}

/**
 * What becomes of output of commands (SSH) that is not text. `Search`: every run of text in it is searched, what is no text passes as
 * it is. `Deny`: the command is ended at the first such byte. `Pass`: from the first such byte on nothing is searched.
 */
export type BinaryOutput = 'Pass' | 'Search' | 'Deny';

/** Files of an SSH target whose contents are protected. */
export interface FileMask {
  /** `Deny`: they are not read. `Mask`: what is read of them is searched as the output of commands is. */
  readonly action: 'Deny' | 'Mask';
  /** `NAMESPACE/NAME` of the MaskingRules that cover them, sorted. */
  readonly rules: readonly string[];
}

/** What an entry of `kubernetes` is about: keys of Secrets, keys of ConfigMaps, environment variables, annotations, fields. */
export const KUBERNETES_PLACES = ['secrets', 'configMaps', 'env', 'annotations', 'fields'] as const;
export type KubernetesPlace = (typeof KUBERNETES_PLACES)[number];

/** One pattern of an entry of `kubernetes`: values inside objects, wherever an object shows up in answers of the API. */
export interface KubernetesMask {
  readonly place: KubernetesPlace;
  /** Of a key, of the name of a variable; of `fields`: a dotted path from the root of the object. */
  readonly match: string;
  /** `resource.group`, the core group without a dot; `*` any. Empty unless place is `fields`. */
  readonly resources: readonly string[];
  /** Patterns; empty: everywhere, also objects that have no namespace. */
  readonly namespaces: readonly string[];
  /** Patterns of the names of objects; empty: any. */
  readonly names: readonly string[];
  readonly transform: Transform;
  readonly rule: string;
}

/** Everything that is masked for one subject on one connection in one bundle. Pure; made once and cached. */
export interface MaskPlan {
  /** True when nothing at all is masked for this subject here: the fast path. */
  readonly empty: boolean;
  /** True when at least one column pattern is in force. */
  readonly hasColumns: boolean;
  /** The mask of a column, or undefined. Cached inside; names as in the catalog (case-sensitive). */
  column(schema: string, relation: string, column: string): ColumnMask | undefined;
  /** Transforms of the column patterns: whoever masks makes their keys ready beforehand. */
  readonly transforms: readonly Transform[];
  readonly fields: readonly FieldMask[];
  readonly content: readonly ContentMask[];
  /** The strictest of the rules that look at content. */
  readonly binaryOutput: BinaryOutput;
  /**
   * What becomes of HTTP bodies that cannot be looked into (images, archives, protobuf) where fields or content are masked: the strictest
   * of those rules. A rule that does not say: `Deny`.
   */
  readonly opaqueBodies: BinaryOutput;
  readonly kubernetes: readonly KubernetesMask[];
  /** True when some rule protects files by their path. */
  readonly hasFiles: boolean;
  /**
   * How the contents of a file are protected when they are read, by the strictest of the rules that cover it.
   * @param path absolute, normalised
   * @param tree everything below the path is read, too, and nobody sees by which names: what could be protected there is denied
   */
  file(path: string, tree?: boolean): FileMask | undefined;
}
