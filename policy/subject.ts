/**
 * Who calls, as far as policy is concerned. Made by `proxy/identity` from a verified token, or by the CLI from `--as`.
 * Nothing in here is ever taken from what the client merely says (such as the PostgreSQL user name).
 */
export interface Subject {
  /** Full identity: `system:serviceaccount:NAMESPACE:NAME`, or `ALIAS:SUBJECT` for an outside issuer. */
  readonly username: string;
  /** Set for Kubernetes service accounts (and for those that the development issuer stands in for). */
  readonly serviceAccount?: { readonly namespace: string; readonly name: string };
  /** Alias of the outside issuer; absent for service accounts. */
  readonly issuer?: string;
  /** Groups with the issuer's alias in front, such as `okta:dba`. */
  readonly groups: readonly string[];
  /** Verified claims of the token. */
  readonly claims: Readonly<Record<string, unknown>>;
  /** The person behind the agent, when a verified token names one. */
  readonly onBehalfOf?: string;
  /** Where it runs, when that was verified. No rule looks at it: it is for people and the record. */
  readonly pod?: SubjectPod;
}

/** A pod of the cluster that Sallyport runs in. */
export interface SubjectPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly node?: string;
}
