import { GROUP } from '../../api/cluster.ts';
import { SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS } from '../../kube/builtin.ts';
import type { KubeClient } from '../../kube/types.ts';
import { AUDIT_VERB, type Auditor, type Reviews } from './auditor.ts';

const REVIEW_MS = 10_000;

/** The API server says who has a token and what they may: rights on the record are plain RBAC. */
export function clusterReviews(client: KubeClient): Reviews {
  return {
    async token(token, audience) {
      const review = await client.create(
        TOKEN_REVIEWS,
        {
          apiVersion: 'authentication.k8s.io/v1',
          kind: 'TokenReview',
          metadata: { name: '' },
          spec: { token, ...(audience === undefined ? {} : { audiences: [audience] }) },
        },
        { signal: AbortSignal.timeout(REVIEW_MS) },
      );
      const { authenticated, audiences, user } = review.status ?? {};
      if (authenticated !== true || user?.username === undefined || user.username === '') return undefined;
      // An authenticator that knows no audiences answers without them, and then says nothing about ours (TokenReviewStatus).
      if (audience !== undefined && audiences?.includes(audience) !== true) return undefined;
      return {
        username: user.username,
        groups: user.groups ?? [],
        ...(user.uid === undefined ? {} : { uid: user.uid }),
        ...(user.extra === undefined ? {} : { extra: user.extra }),
      };
    },
    async mayAudit(auditor: Auditor, scope) {
      const review = await client.create(
        SUBJECT_ACCESS_REVIEWS,
        {
          apiVersion: 'authorization.k8s.io/v1',
          kind: 'SubjectAccessReview',
          metadata: { name: '' },
          spec: {
            user: auditor.username,
            groups: auditor.groups,
            ...(auditor.uid === undefined ? {} : { uid: auditor.uid }),
            ...(auditor.extra === undefined ? {} : { extra: auditor.extra }),
            resourceAttributes: {
              group: GROUP,
              version: '*',
              resource: 'accessconnections',
              verb: AUDIT_VERB,
              ...(scope.namespace === undefined ? {} : { namespace: scope.namespace }),
              ...(scope.name === undefined ? {} : { name: scope.name }),
            },
          },
        },
        { signal: AbortSignal.timeout(REVIEW_MS) },
      );
      return review.status?.allowed === true && review.status.denied !== true;
    },
  };
}
