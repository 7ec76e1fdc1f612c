import {
  type KubernetesMeaning,
  type KubernetesRequest,
  kubernetesCommand,
} from '../../../../policy/kubernetes/commands.ts';
import { booleanParameter, parameter, type RequestInfo } from '../request/request-info.ts';
import { type RequestBody, readRequestBody } from './body.ts';
import { member, text } from './json.ts';
import type { BodyRefusal, MeantRequest, Understanding } from './port.ts';
import { type Refinable, refine } from './refine.ts';
import { worstMeaning } from './worst.ts';

/** The name of an object that is made stands in its body; with `generateName` it has none yet. */
function nameOf(info: RequestInfo, body: RequestBody): string {
  if (info.verb !== 'create' || info.name !== '') return info.name;
  if (body.type === 'protobuf') return body.object.name;
  return body.type === 'object' ? text(member(body.value, 'metadata', 'name')) : '';
}

/** What URL and body say, as policy is told. */
function requestOf(request: MeantRequest, info: RequestInfo, body: RequestBody): KubernetesRequest {
  const { query } = request;
  const target = {
    text: `${request.method} ${request.target}`,
    verb: info.verb,
    group: info.apiGroup,
    version: info.apiVersion,
    resource: info.resource,
    subresource: info.subresource,
    namespace: info.namespace,
    name: nameOf(info, body),
  };
  if (!info.isResourceRequest) return { ...target, path: info.path };
  const dryRun = info.subresource !== 'proxy' && parameter(query, 'dryRun') !== undefined;
  const runs = info.subresource === 'exec' || info.subresource === 'attach';
  if (!runs && info.subresource !== 'log') return { ...target, dryRun };
  return {
    ...target,
    dryRun,
    container: parameter(query, 'container') ?? '',
    argv: info.subresource === 'exec' ? query.filter(([name]) => name === 'command').map(([, word]) => word) : [],
    stdin: runs && booleanParameter(query, 'stdin'),
    tty: runs && booleanParameter(query, 'tty'),
  };
}

/** Subresources whose object can be read, and written on trial; what the others do is done or not. */
const REFINED: ReadonlySet<string> = new Set(['', 'scale', 'status', 'ephemeralcontainers', 'resize']);
/** Whose objects are questions. */
const ASKED: ReadonlySet<string> = new Set(['authentication.k8s.io', 'authorization.k8s.io']);

function isRefined(info: RequestInfo, body: RequestBody): boolean {
  if (body.type === 'none' || ASKED.has(info.apiGroup)) return false;
  return info.verb === 'create' ? info.subresource === '' : info.name !== '' && REFINED.has(info.subresource);
}

/** What is certain of a request whatever its body turns out to do; undefined where that is nothing. */
function certainOf(request: KubernetesRequest, worst: KubernetesMeaning): KubernetesMeaning | undefined {
  if (worst.only === true || request.subresource === 'scale' || request.subresource === 'ephemeralcontainers')
    return undefined;
  return { effects: [], ...(worst.object === undefined ? {} : { object: worst.object }) };
}

/**
 * What a request means, from its URL and its body.
 * @param bytes the whole body; only of writes is it read (`hasMeaning`), for others it may be empty
 * @returns a refusal for a body that cannot be read, or that two readers could read differently
 */
export function understand(request: MeantRequest, info: RequestInfo, bytes: Buffer): Understanding | BodyRefusal {
  const body = readRequestBody(info, request.contentType, bytes);
  if ('refusal' in body) return body;
  const asked = requestOf(request, info, body);
  if (info.verb === 'proxy') {
    const reason = 'a form of path that no API server serves any more';
    return { info, command: kubernetesCommand(asked, { effects: [], unknown: reason }) };
  }
  const worst = worstMeaning(info, body);
  const certain = certainOf(asked, worst);
  const written = body.type === 'none' || !body.written.rewritten ? {} : { body: body.written };
  const understanding: Understanding = {
    info,
    command: kubernetesCommand(asked, worst),
    ...(certain === undefined ? {} : { certain: kubernetesCommand(asked, certain) }),
    ...written,
  };
  if (body.type === 'none' || !isRefined(info, body)) return understanding;
  const refinable: Refinable = { request, asked, body, worst, understanding };
  return { ...understanding, refine: (asking) => refine(refinable, asking) };
}
