import type { ApprovalRequest } from '../api/resources.ts';
import { checkStructure } from '../api/schema.ts';
import { structureProblems } from '../api/structure-error.ts';

/** An ApprovalRequest as the API server has it: with metadata that nobody here looks at. */
export type RequestObject = Omit<ApprovalRequest, 'apiVersion' | 'kind' | 'metadata'> & {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Omit<ApprovalRequest['metadata'], 'labels' | 'annotations'> & {
    readonly resourceVersion?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
};

/** The request without what only the API server is interested in. */
export function requestOf({ metadata, spec, status }: RequestObject): ApprovalRequest {
  const { name, namespace, uid, generation, creationTimestamp, labels, annotations } = metadata;
  return {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'ApprovalRequest',
    metadata: {
      name,
      namespace,
      ...(uid === undefined ? {} : { uid }),
      ...(generation === undefined ? {} : { generation }),
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
      ...(labels === undefined ? {} : { labels: { ...labels } }),
      ...(annotations === undefined ? {} : { annotations: { ...annotations } }),
    },
    spec,
    ...(status === undefined ? {} : { status }),
  };
}

/** @returns the request of any document, or why it is none */
export function readRequest(document: unknown): ApprovalRequest | string {
  if (typeof document !== 'object' || document === null) return 'it is no object';
  const { apiVersion, kind, metadata } = document as Partial<RequestObject>;
  if (apiVersion !== 'sallyport.dev/v1alpha1' || kind !== 'ApprovalRequest') return 'it is no ApprovalRequest';
  if (typeof metadata !== 'object' || metadata === null) return 'it has no metadata';
  const request = requestOf(document as RequestObject);
  const [problem] = structureProblems(checkStructure('ApprovalRequest', request));
  return problem === undefined ? request : problem.message;
}
