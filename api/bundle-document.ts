import type { Resources } from './resources.ts';

/**
 * What the operator hands to the proxies of one namespace. The proxy compiles it with the same code as everybody else, so that only
 * data travels; it refuses one whose signature is not the operator's, or that is of another namespace or older than the one in force.
 *
 * In the ConfigMaps: `binaryData.bundle` is a piece of the gzip of its canonical JSON; pieces are joined in the order of the names
 * (`sallyport-bundle`, `sallyport-bundle-1`, …). The first also has `data.pieces` (how many), `data.signature` (base64 Ed25519 over
 * `sallyport.dev/bundle/v1\n` and the gzip bytes), `data.hash` (`sha256:` of the canonical JSON).
 */
export interface BundleDocument {
  readonly version: 1;
  readonly namespace: string;
  readonly guardrailNamespace: string;
  /** Grows with each change; a proxy never goes back. */
  readonly sequence: number;
  /** Connections of `namespace`; policies and masking rules of it and of the guardrail namespace. Status and managedFields stripped. */
  readonly resources: Resources;
  /** By connection: namespaces whose pods may use it, resolved; `['*']` for all. */
  readonly allowedNamespaces: Readonly<Record<string, readonly string[]>>;
  /** By connection with `routing: Gateway`: port that the proxy listens on. */
  readonly gatewayPorts: Readonly<Record<string, number>>;
  /** Public keys (base64, 32 bytes) of authorities whose votes count. */
  readonly voteAuthorities: readonly string[];
}

/** What a proxy replica tells of itself, in an annotation of its Lease. */
export interface ProxyReport {
  /** Of the document in force: `hash` as in the ConfigMap. */
  readonly bundle: string;
  readonly sequence: number;
  /** Open sessions by connection. */
  readonly sessions: Readonly<Record<string, number>>;
  /** Absent: the record is written. */
  readonly auditFailure?: string;
  /** By connection, from the probes of connectors: pods that reached the target without Sallyport, at most 16, and when last tried. */
  readonly egress: Readonly<Record<string, { readonly open: readonly string[]; readonly probed: string }>>;
  /** By connection: what keeps it from being served, such as a Secret that is missing. */
  readonly problems: Readonly<Record<string, string>>;
  /** By connection, once its catalog was read for somebody's session. */
  readonly masking?: Readonly<Record<string, MaskingReport>>;
}

/** Columns of a target that are masked, and those that are called as if they should be. */
export interface MaskingReport {
  readonly masked: number;
  readonly unmasked: number;
  /** `SCHEMA.RELATION.COLUMN` of the first that are not masked. */
  readonly names: readonly string[];
  /** By rule, `NAMESPACE/NAME`: columns that it masks there, and which of its column patterns, counted from 0, match none. */
  readonly rules: Readonly<Record<string, { readonly columns: number; readonly unmatched: readonly number[] }>>;
}
