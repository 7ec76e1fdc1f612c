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

/** Until bodies are understood: what has one is refused. */
export function understand(
  request: Pick<RequestHead, 'method' | 'target' | 'query'> & { readonly contentType: string | undefined },
  info: RequestInfo,
  body: Buffer,
): Understanding | { readonly refusal: string } {
  if (body.length > 0) return { refusal: 'bodies are not understood yet' };
  const of = (name: string): readonly string[] =>
    request.query.flatMap(([known, value]) => (known === name ? [value] : []));
  const command = kubernetesCommand({
    text: `${request.method} ${request.target}`,
    verb: info.verb,
    version: info.apiVersion,
    group: info.apiGroup,
    resource: info.resource,
    subresource: info.subresource,
    namespace: info.namespace,
    name: info.name,
    ...(info.isResourceRequest ? {} : { path: info.path }),
    argv: of('command'),
  });
  return { info, command };
}
