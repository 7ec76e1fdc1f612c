import type { ApprovalRequest } from '../../api/resources.ts';

export interface RequestRef {
  readonly namespace: string;
  readonly name: string;
}

/** A request as read, with what tells whether it is still the one that was read. */
export interface StoredRequest {
  readonly request: ApprovalRequest;
  readonly stamp: string;
}

/** The request as it is to be written; undefined where nothing is. May be asked again with another one, which came in between. */
export type Change = (request: ApprovalRequest) => ApprovalRequest | undefined;

/**
 * Where requests live: YAML files in a folder, or objects of an API server. Several processes share it, and neither loses a change of
 * another. It is believed for nothing but signatures.
 */
export interface RequestStore {
  /** What it is called in messages: a folder, or a namespace of the cluster. */
  readonly place: string;
  /** Makes the store usable for a namespace. @throws when it is not */
  prepare(namespace: string): Promise<void>;
  namespaces(): Promise<readonly string[]>;
  /** Names in a namespace, as last seen, whatever is behind them. */
  names(namespace: string): Promise<readonly string[]>;
  /** As it is now. Undefined: there is none. @throws ApprovalError SPV020 when it is broken */
  read(ref: RequestRef): Promise<StoredRequest | undefined>;
  /** As it was last seen, a moment ago: for limits, lists and regular looks. @throws ApprovalError SPV020 when it is broken */
  peek(ref: RequestRef): Promise<StoredRequest | undefined>;
  /** Changes exactly when the request does; undefined when there is none. As last seen. */
  stamp(ref: RequestRef): Promise<string | undefined>;
  /** Milliseconds since 1970 when what has this stamp was written; Infinity where that is not known. */
  writtenAt(stamp: string): number;
  /** Makes it, durably. Undefined: the name is taken. The store may give it another uid and time of its own. */
  create(request: ApprovalRequest): Promise<StoredRequest | undefined>;
  /**
   * Reads, changes and replaces, as one step for everybody else.
   * @returns what is there now; undefined when there is none. @throws ApprovalError SPV020, SPV021
   */
  update(ref: RequestRef, change: Change): Promise<StoredRequest | undefined>;
  remove(ref: RequestRef): Promise<void>;
  /** Removes what a process that was killed between two steps left beside the requests before a time, in milliseconds since 1970. */
  removeDrafts(namespace: string, before: number): Promise<void>;
  /**
   * Tells which request of a namespace changed, and regularly that all may have changed.
   * @param onChange the name of the request, or undefined for all
   */
  watch(namespace: string, onChange: (name: string | undefined) => void): RequestWatch;
}

export interface RequestWatch {
  close(): void;
}

const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

export const isNamespaceName = (text: string): boolean => LABEL.test(text);
export const isRequestName = (text: string): boolean => NAME.test(text);

/** Whether both are names that Kubernetes takes, and so nothing that leads out of a folder or a path. */
export function isRequestRef({ namespace, name }: RequestRef): boolean {
  return isNamespaceName(namespace) && isRequestName(name);
}

export function refOf({ metadata }: ApprovalRequest): RequestRef {
  return { namespace: metadata.namespace, name: metadata.name };
}
