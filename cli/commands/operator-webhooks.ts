import { createPrivateKey } from 'node:crypto';
import type { KubeObject } from '../../kube/types.ts';
import type { OperatorContext } from '../../operator/context.ts';
import type { OperatorOptions } from '../../operator/serve.ts';
import { createApprovalAdmission } from '../../operator/webhook/approvals.ts';
import { webhooksComponent } from '../../operator/webhook/component.ts';
import { createStalenessJudge } from '../../operator/webhook/injection/stale.ts';
import { WEBHOOK_PATHS } from '../../operator/webhook/paths.ts';
import { askApiServer } from '../../proxy/approval/cluster/signers.ts';

/** What the operator needs for admission, and for telling which pods were injected differently from today. */
export function operatorWebhooks(
  port: number,
  onListening: (port: number) => void,
): Required<Pick<OperatorOptions, 'webhooks' | 'judge'>> {
  return {
    webhooks(context) {
      const approvals = createApprovalAdmission({
        signingKey: () => createPrivateKey(context.keys.signingKey()),
        hasRight: askApiServer(context.client),
        now: context.now,
        operatorNamespace: context.namespace,
      });
      return webhooksComponent(context, {
        port,
        handlers: {
          [WEBHOOK_PATHS.approvals]: approvals.stamp,
          [WEBHOOK_PATHS.approvalsCheck]: approvals.check,
        },
        onListening,
      });
    },
    judge: ({ connections, namespaces, version }: OperatorContext) =>
      createStalenessJudge({
        version,
        connections: connections.list(),
        namespaceLabels: (name) => labelsOf(namespaces.get(undefined, name)),
      }),
  };
}

const labelsOf = (object: KubeObject | undefined): Readonly<Record<string, string>> | undefined =>
  object === undefined ? undefined : (object.metadata.labels ?? {});
