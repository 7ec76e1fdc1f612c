import type { KeyObject } from 'node:crypto';

/** One authority of the operator's that may sign certificates for its own webhooks. Its key stays with who holds it. */
export interface ServingAuthority {
  /** PEM. */
  readonly certificate: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** A server certificate in PEM, with the names as subject alternative names. */
  sign(request: {
    readonly commonName: string;
    /** P-256. */
    readonly publicKey: KeyObject;
    readonly names: readonly string[];
    readonly notBefore: Date;
    readonly notAfter: Date;
  }): string;
}

/**
 * The authorities that are valid now, oldest first. During a rotation there are two: all of them belong into `caBundle`, and which of
 * them signs is decided by `serving-certificate.ts`, since the API server has to know an authority before it meets its certificates.
 */
export interface ServingAuthorities {
  list(): readonly ServingAuthority[];
  onChange(listener: () => void): () => void;
}
