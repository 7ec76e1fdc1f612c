/** A pod as identity looks at it. */
export interface PodFacts {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly node?: string;
  readonly addresses: readonly string[];
  /** Being deleted, or its containers have ended. */
  readonly ending: boolean;
  readonly quarantined: boolean;
}

/** The pods of namespaces that tokens came from. A namespace is watched from the first call about it on. */
export interface PodDirectory {
  /**
   * The pod as it is known now; undefined when no such pod is, or another has its name.
   * @throws Error when the namespace is not watched yet, or nothing was heard of it for too long
   */
  now(namespace: string, name: string, uid: string): PodFacts | undefined;
  /**
   * The same for a pod that may be younger than the news of it: waits, at most some seconds, until it is known and has an address.
   * @throws as `now`; the signal's reason
   */
  find(namespace: string, name: string, uid: string, signal: AbortSignal): Promise<PodFacts | undefined>;
}

export const podLabel = ({ namespace, name }: { readonly namespace: string; readonly name: string }): string =>
  `${namespace}/${name}`;
