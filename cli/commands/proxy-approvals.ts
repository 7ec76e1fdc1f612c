import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GROUP } from '../../api/cluster.ts';
import type { Configuration } from '../../api/configuration.ts';
import type { RequestObject } from '../../approval/object.ts';
import { createEventRecorder } from '../../kube/event-recorder.ts';
import type { KubeClient, Log, Reflector, ResourceType, Selection } from '../../kube/types.ts';
import { createClusterApprovals } from '../../proxy/approval/cluster/approvals.ts';
import { tellEvent } from '../../proxy/approval/cluster/events.ts';
import { APPROVAL_REQUESTS, essentialRequest } from '../../proxy/approval/cluster/objects.ts';
import { refuseApprovals } from '../../proxy/cluster/no-approvals.ts';
import { createNotifier } from '../../proxy/notifications/notifier.ts';
import type { ApprovalStore } from '../../proxy/ports.ts';

export interface ProxyApprovalsOptions {
  readonly client: KubeClient;
  readonly reflector: (
    type: ResourceType<RequestObject>,
    selection: Selection & { readonly transform?: (object: RequestObject) => RequestObject },
  ) => Reflector<RequestObject>;
  readonly pod: { readonly namespace: string; readonly name: string };
  /** Of the archive; undefined: there is none, and then nothing is held, since nothing could be noted as used. */
  readonly archive: string | undefined;
  /** Folder with tls.crt, tls.key and ca.crt. */
  readonly tls: string;
  readonly configuration: Configuration;
  /** State folder: what waits to be sent to webhooks. */
  readonly state: string;
  readonly log: Log;
  readonly now: () => number;
  readonly monotonic: () => number;
}

/** The approvals of a proxy in a cluster: everything that they need from the process, put together. */
export function proxyApprovals(
  options: ProxyApprovalsOptions,
): (bundles: {
  readonly document: { readonly voteAuthorities: readonly string[] } | undefined;
}) => ApprovalStore & { close?(): Promise<void> } {
  const { client, pod, log, now, archive, configuration } = options;
  if (archive === undefined) return refuseApprovals;
  return (bundles) => {
    const ending = new AbortController();
    const reflector = options.reflector(APPROVAL_REQUESTS, { namespace: pod.namespace, transform: essentialRequest });
    const events = createEventRecorder({ client, controller: `${GROUP}/proxy`, instance: pod.name, log });
    const running = Promise.all([reflector.run(ending.signal), events.run(ending.signal)]);
    const { webhooks } = configuration.notifications;
    const notify = createNotifier({ webhooks, state: options.state, now, log });
    const file = (name: string): Promise<string> => readFile(join(options.tls, name), 'utf8');
    const approvals = createClusterApprovals({
      client,
      reflector,
      namespace: pod.namespace,
      archive: {
        url: new URL(archive),
        async tls() {
          const [certificate, key, ca] = await Promise.all(['tls.crt', 'tls.key', 'ca.crt'].map(file));
          return { certificate: certificate ?? '', key: key ?? '', ca: ca ?? '' };
        },
      },
      authorities: () => bundles.document?.voteAuthorities ?? [],
      holder: { host: pod.name, process: randomUUID() },
      now,
      monotonic: options.monotonic,
      log,
      onChange(request, event) {
        const { namespace, name } = request.metadata;
        log.info({ request: `${namespace}/${name}`, event }, 'request for approval');
        tellEvent(events, request, event);
        notify(request, event);
      },
      signal: ending.signal,
    });
    return {
      submit: (command) => approvals.submit(command),
      async close() {
        await approvals.close();
        ending.abort();
        await running;
      },
    };
  };
}
