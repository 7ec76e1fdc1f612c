/** What is given of where to look. Each place has its own of these options, and leaves the others alone. */
export interface PlaceOptions {
  /** Of a gateway on this machine. */
  readonly state?: string;
  readonly config?: string;
  /** Of a cluster. */
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly allNamespaces?: boolean;
  readonly operatorNamespace?: string;
  readonly archive?: string;
  readonly archiveCa?: string;
  /** Of both. */
  readonly namespace?: string;
}

/** A connection as people name it. */
export interface ConnectionName {
  /** Undefined: that of the place. */
  readonly namespace?: string;
  readonly name: string;
}
