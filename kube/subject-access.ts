import { SUBJECT_ACCESS_REVIEWS, type SubjectAccessReview } from './builtin.ts';
import type { KubeClient } from './types.ts';

/**
 * Asks the API server's authorizer, anew each time, whether somebody may do something (authorization.k8s.io/v1).
 * @param spec who and what; groups are as given, nothing is added
 * @throws KubeError when it cannot say
 */
export async function isAllowed(
  client: Pick<KubeClient, 'create'>,
  spec: SubjectAccessReview['spec'],
  signal?: AbortSignal,
): Promise<boolean> {
  const review = await client.create(
    SUBJECT_ACCESS_REVIEWS,
    { apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', metadata: { name: '' }, spec },
    { signal },
  );
  return review.status?.allowed === true && review.status.denied !== true;
}
