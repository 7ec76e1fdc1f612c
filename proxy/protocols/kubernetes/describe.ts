import type { KubernetesCommand } from '../../../policy/command.ts';
import type { RequestInfo } from './request/request-info.ts';

/** A request in the words of kubectl: for whoever reads a record, or approves. Nothing is decided on them. */

type Query = readonly (readonly [name: string, value: string])[];

/** As a shell takes it for one word. */
const word = (text: string): string =>
  /^[A-Za-z0-9_./:=@,+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

/** Of Kubernetes itself: nobody writes the group. Others are told apart by theirs. */
const OWN_GROUP = /^$|^[a-z]+$|\.k8s\.io$/;

function resourceWord({ resource, apiGroup }: RequestInfo): string {
  return OWN_GROUP.test(apiGroup) ? resource : `${resource}.${apiGroup}`;
}

/** Several words, without those that are empty. */
const line = (...parts: readonly string[]): string => parts.filter((part) => part !== '').join(' ');

/** @param contentType of the body. @param command where it was understood: for what only the body tells */
export function describeRequest(
  info: RequestInfo,
  { query, contentType, command }: { query: Query; contentType?: string | undefined; command?: KubernetesCommand },
): string {
  if (!info.isResourceRequest) {
    const verb = info.verb === 'get' || info.verb === 'head' ? 'get' : info.verb;
    return line('kubectl', verb, '--raw', word(info.path));
  }
  const first = (name: string): string | undefined => query.find(([known]) => known === name)?.[1];
  const flag = (name: string, as: string): string => {
    const value = first(name);
    return value === undefined || value === '' ? '' : `${as} ${word(value)}`;
  };
  const replicas = command?.statements.find((statement) => statement.replicas !== undefined)?.replicas;
  const created = command?.statements.find(({ verb, name }) => verb === 'create' && name !== '')?.name ?? '';
  const { verb, subresource, namespace, resource } = info;
  const name = info.name === '' ? '' : word(info.name);
  const ofNamespace = resource === 'namespaces' ? '' : namespace === '' ? '' : `-n ${word(namespace)}`;
  const everywhere = namespace === '' && info.name === '' ? '-A' : '';
  const selectors = line(flag('labelSelector', '-l'), flag('fieldSelector', '--field-selector'));
  const dry = first('dryRun') === 'All' ? '--dry-run=server' : '';
  const what = resourceWord(info);
  const container = flag('container', '-c');
  const argv = query.filter(([known]) => known === 'command').map(([, value]) => word(value));

  switch (subresource) {
    case 'exec':
      return line('kubectl exec', name, ofNamespace, container, terminal(first), '--', ...argv);
    case 'attach':
      return line('kubectl attach', name, ofNamespace, container, terminal(first));
    case 'portforward':
      return line('kubectl port-forward', name, ofNamespace);
    case 'log':
      return line('kubectl logs', name, ofNamespace, container, isTrue(first('follow')) ? '--follow' : '');
    case 'scale':
      if (verb === 'get') break;
      return line(
        'kubectl scale',
        what,
        name,
        ofNamespace,
        replicas === undefined ? '' : `--replicas=${replicas}`,
        dry,
      );
    case 'eviction':
      return line('kubectl evict', name, ofNamespace, dry);
    case 'token':
      return line('kubectl create token', name, ofNamespace);
    default:
  }
  const sub = subresource === '' ? '' : `--subresource=${word(subresource)}`;
  switch (verb) {
    case 'get':
      return line('kubectl get', what, name, ofNamespace, sub);
    case 'list':
      return line('kubectl get', what, ofNamespace, everywhere, selectors);
    case 'watch':
      return line('kubectl get', what, name, ofNamespace, everywhere, selectors, '--watch');
    case 'create':
      return line('kubectl create', what, created === '' ? name : word(created), ofNamespace, sub, dry);
    case 'update':
      return line('kubectl replace', what, name, ofNamespace, sub, scaled(replicas), dry);
    case 'patch': {
      const apply = contentType?.startsWith('application/apply-patch') === true;
      const how = apply ? 'kubectl apply --server-side' : 'kubectl patch';
      return line(how, what, name, ofNamespace, sub, scaled(replicas), dry);
    }
    case 'delete':
      return line('kubectl delete', what, name, ofNamespace, dry);
    case 'deletecollection':
      return line('kubectl delete', what, '--all', ofNamespace, everywhere, selectors, dry);
    default:
      return line('kubectl', verb, what, name, ofNamespace, sub);
  }
}

const scaled = (replicas: number | undefined): string => (replicas === undefined ? '' : `# replicas: ${replicas}`);

const isTrue = (value: string | undefined): boolean => value !== undefined && value !== 'false' && value !== '0';

function terminal(first: (name: string) => string | undefined): string {
  const letters = `${isTrue(first('stdin')) ? 'i' : ''}${isTrue(first('tty')) ? 't' : ''}`;
  return letters === '' ? '' : `-${letters}`;
}
