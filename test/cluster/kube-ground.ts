/** What tests of the runtime share: a client, something that keeps changing, and a judge of what a reflector told about it. */
import { once } from 'node:events';
import { type AccessOptions, loadKubeConfig } from '../../kube/access.ts';
import { CONFIG_MAPS, type ConfigMap } from '../../kube/builtin.ts';
import { createKubeClient } from '../../kube/client.ts';
import {
  type Change,
  type KubeClient,
  type KubeObject,
  keyOf,
  type Log,
  type Reflector,
  type Selection,
} from '../../kube/types.ts';

export async function clientOf(kubeconfig: string, more: Partial<AccessOptions> = {}): Promise<KubeClient> {
  const access = await loadKubeConfig({ kubeconfig, env: {}, ...more });
  return createKubeClient({ access, userAgent: 'sallyport-test', timeoutMs: 5_000 });
}

export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly fields: object;
  readonly message: string;
}

export interface CollectedLog extends Log {
  readonly lines: LogLine[];
  /** Resolves when a line with this code was or is logged. */
  said(code: string): Promise<void>;
}

export function collectLog(): CollectedLog {
  const lines: LogLine[] = [];
  const added = new EventTarget();
  const at = (level: LogLine['level']) => (fields: object, message: string) => {
    lines.push({ level, fields, message });
    added.dispatchEvent(new Event('line'));
  };
  const said = async (code: string): Promise<void> => {
    while (!lines.some(({ fields }) => 'code' in fields && fields.code === code)) await once(added, 'line');
  };
  return { lines, said, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

export const configMap = (namespace: string, name: string, data: Record<string, string> = {}): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { namespace, name, labels: { churn: 'true' } },
  data,
});

export async function createNamespace(client: KubeClient, name: string): Promise<string> {
  await client.request('POST', '/api/v1/namespaces', { body: { metadata: { name } } });
  return name;
}

export interface Churn {
  /** Creates, changes and deletes so many times. */
  step(times: number): Promise<void>;
  /** Resource versions of all that was written, deletions excepted. */
  readonly written: Set<string>;
}

/** ConfigMaps of one namespace that are made, changed, deleted and made again under their old names, by a fixed pattern. */
export function createChurn(client: KubeClient, namespace: string, prefix = 'churn', names = 12): Churn {
  const written = new Set<string>();
  const there = new Map<string, ConfigMap>();
  let count = 0;
  const step = async (): Promise<void> => {
    const name = `${prefix}-${(count * 7) % names}`;
    count++;
    const current = there.get(name);
    if (current !== undefined && count % 3 === 0) {
      await client.delete(CONFIG_MAPS, current.metadata);
      there.delete(name);
      return;
    }
    const object = configMap(namespace, name, { count: String(count) });
    const stored =
      current === undefined
        ? await client.create(CONFIG_MAPS, object)
        : await client.update(CONFIG_MAPS, { ...object, metadata: current.metadata });
    there.set(name, stored);
    written.add(stored.metadata.resourceVersion ?? '');
  };
  return {
    written,
    async step(times) {
      for (let each = 0; each < times; each++) await step();
    },
  };
}

/**
 * Follows what a reflector tells as a user of it would, and says where it does not add up: an addition of what is there, a change or
 * deletion of what is not, a change that is none.
 */
export function auditChanges<T extends KubeObject>(reflector: Reflector<T>) {
  const model = new Map<string, T>();
  const findings: string[] = [];
  const versions = new Set<string>();
  const note = ({ type, object }: Change<T>, what: string): void =>
    void findings.push(`${type} ${keyOf(object)}: ${what}`);
  reflector.onChange((change) => {
    const { type, object } = change;
    const before = model.get(keyOf(object));
    if (type === 'added' && before !== undefined) note(change, 'it is there already');
    if (type !== 'added' && before === undefined) note(change, 'it is not there');
    if (type !== 'added' && before !== undefined && before.metadata.uid !== object.metadata.uid)
      note(change, 'another UID');
    if (type === 'updated' && change.previous !== before) note(change, 'the previous version is another one');
    if (type === 'updated' && before?.metadata.resourceVersion === object.metadata.resourceVersion)
      note(change, 'no change');
    if (!Object.isFrozen(object) || !Object.isFrozen(object.metadata)) note(change, 'not frozen');
    if ('managedFields' in object.metadata) note(change, 'has managedFields');
    versions.add(object.metadata.resourceVersion ?? '');
    if (type === 'deleted') model.delete(keyOf(object));
    else model.set(keyOf(object), object);
  });
  return { model, findings, versions };
}

/** `NAMESPACE/NAME UID VERSION` of each, sorted: what two stores are compared by. */
export const fingerprint = (objects: Iterable<KubeObject>): string[] =>
  [...objects].map((each) => `${keyOf(each)} ${each.metadata.uid} ${each.metadata.resourceVersion}`).sort();

/** Resolves when the store equals a fresh list that is read from the API server itself; rejects after the time that is promised. */
export async function caughtUp<T extends KubeObject>(
  reflector: Reflector<T>,
  direct: KubeClient,
  selection: Selection,
  withinMs: number,
): Promise<void> {
  const limit = AbortSignal.timeout(withinMs);
  const fresh = fingerprint((await direct.listAll(reflector.type, selection)).items);
  const changed = new EventTarget();
  const stop = reflector.onChange(() => changed.dispatchEvent(new Event('change')));
  try {
    while (JSON.stringify(fingerprint(reflector.list())) !== JSON.stringify(fresh)) {
      await once(changed, 'change', { signal: limit });
    }
  } catch (error) {
    const has = fingerprint(reflector.list());
    const missing = fresh.filter((line) => !has.includes(line));
    const extra = has.filter((line) => !fresh.includes(line));
    throw new Error(`not caught up within ${withinMs} ms; missing: ${missing}; extra: ${extra}`, { cause: error });
  } finally {
    stop();
  }
}
