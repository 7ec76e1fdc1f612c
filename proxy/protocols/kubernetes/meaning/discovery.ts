import type { RequestInfo } from '../request/request-info.ts';
import { isObject, list, member, text } from './json.ts';
import type { Path } from './pointer.ts';
import type { AskApiServer, Discovery } from './port.ts';
import { isCustom } from './scale.ts';

/** A definition that changes is seen after this: it takes a right of its own to change one. */
const REMEMBERED_MS = 60_000;
const MOST_REMEMBERED = 1_000;

async function askJson(ask: AskApiServer, target: string, signal: AbortSignal): Promise<unknown> {
  const { status, body } = await ask({ method: 'GET', target }, signal);
  if (status !== 200) return undefined;
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}

/** The path of a request as the API's own description has it. */
function template({ apiGroup, apiVersion, namespace, parts }: RequestInfo): string {
  const [resource = '', name, ...rest] = parts;
  const within = namespace === '' ? '' : '/namespaces/{namespace}';
  const object = name === undefined ? '' : '/{name}';
  return [`/apis/${apiGroup}/${apiVersion}${within}/${resource}${object}`, ...rest].join('/');
}

const METHODS: ReadonlyMap<string, string> = new Map([
  ['create', 'post'],
  ['update', 'put'],
  ['patch', 'patch'],
]);

/** Names of the parameters that `METHOD PATH` takes. */
function parametersOf(description: unknown, path: string, method: string): readonly string[] {
  const at = member(description, 'paths', path);
  return [at, member(at, method)].flatMap((part) =>
    list(member(part, 'parameters')).map((one) => text(member(one, 'name'))),
  );
}

/**
 * Where a definition says that the numbers of its Scales stand: a JSON path below `.spec` without the notation of arrays.
 * https://kubernetes.io/docs/reference/kubernetes-api/extend-resources/custom-resource-definition-v1/
 * @returns undefined where one of them cannot be read
 */
function scalePaths(definition: unknown): readonly Path[] | undefined {
  const written = list(member(definition, 'spec', 'versions'))
    .map((version) => member(version, 'subresources', 'scale', 'specReplicasPath'))
    .filter((path) => path !== undefined)
    .map(text);
  if (written.length === 0 || !written.every((path) => /^[.]spec([.][-\w]+)+$/.test(path))) return undefined;
  return [...new Set(written)].map((path) => path.slice(1).split('.'));
}

/**
 * Asks about groups that do not come with Kubernetes, and remembers it for a minute: for everybody, since everybody may read it.
 * @param now milliseconds
 */
export function createDiscovery(now: () => number): Discovery {
  const remembered = new Map<string, { readonly until: number; readonly value: Promise<unknown> }>();
  const recall = (
    target: string,
    ask: AskApiServer,
    signal: AbortSignal,
    keep: (whole: unknown) => unknown,
  ): Promise<unknown> => {
    const known = remembered.get(target);
    if (known !== undefined && known.until > now()) return known.value;
    const value = askJson(ask, target, signal).then(keep);
    remembered.delete(target);
    remembered.set(target, { until: now() + REMEMBERED_MS, value });
    const [oldest] = remembered.keys();
    if (remembered.size > MOST_REMEMBERED && oldest !== undefined) remembered.delete(oldest);
    // What was not found out, or asked by somebody who left, is asked again.
    const forget = (): void => {
      if (remembered.get(target)?.value === value) remembered.delete(target);
    };
    value.then((found) => (found === undefined ? forget() : undefined), forget);
    return value;
  };
  const group = ({ apiGroup, apiVersion }: RequestInfo): string =>
    `${encodeURIComponent(apiGroup)}/${encodeURIComponent(apiVersion)}`;

  const namesOf = async (target: string, ask: AskApiServer, signal: AbortSignal): Promise<unknown> =>
    recall(target, ask, signal, (whole) =>
      Array.isArray(member(whole, 'resources'))
        ? list(member(whole, 'resources')).map((one) => text(member(one, 'name')))
        : undefined,
    );

  return {
    async scales(info, ask, signal) {
      // One object is there in all versions of its group, and may have a Scale in one of them alone.
      const versions = await recall(`/apis/${encodeURIComponent(info.apiGroup)}`, ask, signal, (whole) => {
        const known = list(member(whole, 'versions')).map((one) => text(member(one, 'groupVersion')));
        return known.length === 0 ? undefined : known;
      });
      if (!Array.isArray(versions)) return undefined;
      const served = await Promise.all(
        versions.map((version: string) =>
          namesOf(`/apis/${version.split('/').map(encodeURIComponent).join('/')}`, ask, signal),
        ),
      );
      const scale = `${info.resource}/scale`;
      if (served.some((names) => Array.isArray(names) && names.includes(scale))) return true;
      return served.every(Array.isArray) ? false : undefined;
    },
    async replicaPaths({ apiGroup, resource }, ask, signal) {
      const definition = encodeURIComponent(`${resource}.${apiGroup}`);
      const target = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${definition}`;
      const paths = await recall(target, ask, signal, scalePaths);
      return Array.isArray(paths) ? paths : undefined;
    },
    async dryRuns(info, ask, signal) {
      if (!isCustom(info)) return true;
      const paths = await recall(`/openapi/v3/apis/${group(info)}`, ask, signal, (whole) =>
        isObject(member(whole, 'paths')) ? whole : undefined,
      );
      return parametersOf(paths, template(info), METHODS.get(info.verb) ?? '').includes('dryRun');
    },
  };
}
