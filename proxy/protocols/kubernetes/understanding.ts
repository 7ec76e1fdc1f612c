import type { KubernetesCommand } from '../../../policy/command.ts';
import { kubernetesCommand } from '../../../policy/kubernetes/commands.ts';
import type { RequestHead } from '../http/core/port.ts';
import type { Understanding } from './meaning/port.ts';
import type { RequestInfo } from './request/request-info.ts';

/** A request that is not understood, for its denial in the record: policy is not asked. */
export function notUnderstood(head: RequestHead, reason: string): Understanding {
  const info: RequestInfo = {
    isResourceRequest: false,
    path: head.path,
    verb: head.method.toLowerCase(),
    ...{ apiPrefix: '', apiGroup: '', apiVersion: '', namespace: '', resource: '', subresource: '', name: '' },
    ...{ parts: [], fieldSelector: '', labelSelector: '' },
  };
  return { info, command: unknownCommand(info, `${head.method} ${head.target}`, reason) };
}

function unknownCommand({ verb, path }: RequestInfo, text: string, reason: string): KubernetesCommand {
  return kubernetesCommand(
    { text, verb, version: '', group: '', resource: '', subresource: '', namespace: '', name: '', path },
    { effects: [], unknown: reason },
  );
}
