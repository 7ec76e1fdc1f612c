import type { KubeObject } from '../../kube/types.ts';
import type { OperatorContext } from '../../operator/context.ts';
import type { OperatorOptions } from '../../operator/serve.ts';
import { approvalHandlers } from '../../operator/webhook/approval-handlers.ts';
import { webhooksComponent } from '../../operator/webhook/component.ts';
import { createStalenessJudge } from '../../operator/webhook/injection/stale.ts';

/** What the operator needs for admission, and for telling which pods were injected differently from today. */
export function operatorWebhooks(
  port: number,
  onListening: (port: number) => void,
): Required<Pick<OperatorOptions, 'webhooks' | 'judge'>> {
  return {
    webhooks(context) {
      return webhooksComponent(context, { port, handlers: approvalHandlers(context), onListening });
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
