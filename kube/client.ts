import type { IncomingMessage } from 'node:http';
import type { ClusterAccess } from './access.ts';
import { errorOf, eventOf, listOf, objectOf, parseJson, refusal } from './answers.ts';
import { isExpired, isNotFound, KubeError } from './errors.ts';
import { linesOf } from './lines.ts';
import { collectionPath, creationPath, describe, describeSelection, objectPath, withQuery } from './paths.ts';
import { createTransport, unreachable } from './transport.ts';
import type { KubeClient, KubeObject, ListOptions, ObjectList, Patch, ResourceType, WriteOptions } from './types.ts';
import { apiVersionOf } from './types.ts';

export interface ClientOptions {
  readonly access: ClusterAccess;
  /** `sallyport-proxy/0.1.0`: the API server's audit log and its flow control show it. */
  readonly userAgent: string;
  /** Milliseconds for a call; watches and streams have none. */
  readonly timeoutMs?: number;
  /** Bytes of an answer, a page of a list among them. */
  readonly maxAnswerBytes?: number;
  /** Called for every answer; status 0 when there was none. `KubeMetrics.request` fits. */
  readonly observe?: (method: string, status: number) => void;
}

/** An object may have 1.5 MiB in etcd, and in JSON a little more; a line of a watch has one. */
const MAX_EVENT_BYTES = 8 * 1024 * 1024;
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const CALL_MS = 30_000;
/** Objects in a page, as client-go. */
export const PAGE = 500;

const PATCH_TYPES = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
} as const satisfies Record<Patch['type'], string>;

interface Call {
  readonly method: string;
  readonly path: string;
  readonly object: string;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number | undefined;
  readonly maxBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** The server's words about it may hold a secret. */
  readonly quiet?: boolean;
}

export function createKubeClient(options: ClientOptions): KubeClient {
  const transport = createTransport(options);
  const maxAnswerBytes = options.maxAnswerBytes ?? MAX_ANSWER_BYTES;

  const exchangeOf = (call: Call) => ({
    method: call.method,
    path: call.path,
    object: call.object,
    headers: {
      ...(call.body === undefined ? {} : { 'Content-Type': call.contentType ?? 'application/json' }),
      ...call.headers,
    },
    body: bodyOf(call),
    timeoutMs: call.timeoutMs ?? options.timeoutMs ?? CALL_MS,
  });

  const send = async (call: Call): Promise<Buffer> => {
    const answer = await transport.call({ ...exchangeOf(call), signal: call.signal }, call.maxBytes ?? maxAnswerBytes);
    const refused = refusal(answer, call.object, call.quiet);
    if (refused !== undefined) throw refused;
    return answer.body;
  };

  const sendJson = async (call: Call): Promise<unknown> => parseJson((await send(call)).toString('utf8'), call.object);

  const openStream = async (call: Call & { signal: AbortSignal }): Promise<IncomingMessage> => {
    const response = await transport.open({ ...exchangeOf(call), signal: call.signal });
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return response;
    const body = await firstBytes(response);
    throw refusal({ status, headers: response.headers, body }, call.object, call.quiet) ?? new Error('unreachable');
  };

  const write = async <T extends KubeObject>(type: ResourceType<T>, call: Omit<Call, 'quiet'>): Promise<T> =>
    objectOf(await sendJson({ ...call, quiet: isSecret(type) }), type, call.object);

  const client: KubeClient = {
    async get(type, ref, { signal } = {}) {
      const object = describe('get', type, ref);
      try {
        return objectOf(await sendJson({ method: 'GET', path: objectPath(type, ref), object, signal }), type, object);
      } catch (error) {
        if (isNotFound(error)) return undefined;
        throw error;
      }
    },

    async list(type, selection = {}) {
      const object = describeSelection('list', type, selection);
      const path = withQuery(collectionPath(type, selection.namespace), {
        labelSelector: selection.labelSelector,
        fieldSelector: selection.fieldSelector,
        limit: selection.limit,
        continue: selection.continue,
        resourceVersion: selection.resourceVersion,
      });
      return listOf(await sendJson({ method: 'GET', path, object, signal: selection.signal }), type, object);
    },

    listAll: (type, selection = {}) => listPages(client, type, selection),

    async *watch(type, selection) {
      const object = describeSelection('watch', type, selection);
      const path = withQuery(collectionPath(type, selection.namespace), {
        watch: true,
        allowWatchBookmarks: true,
        labelSelector: selection.labelSelector,
        fieldSelector: selection.fieldSelector,
        resourceVersion: selection.resourceVersion,
        timeoutSeconds: selection.timeoutSeconds,
      });
      const response = await openStream({ method: 'GET', path, object, signal: selection.signal });
      selection.onBytes?.();
      try {
        for await (const line of linesOf(response, MAX_EVENT_BYTES, object, selection.onBytes)) {
          yield eventOf(line, type, object);
        }
      } catch (error) {
        throw streamError(error, selection.signal, options.access.server, object);
      } finally {
        response.destroy();
      }
    },

    create: (type, object, settings) =>
      write(type, {
        method: 'POST',
        path: withQuery(creationPath(type, object), queryOf(settings)),
        object: describe('create', type, object.metadata),
        body: object,
        signal: settings?.signal,
      }),

    update: (type, object, settings) =>
      write(type, {
        method: 'PUT',
        path: withQuery(objectPath(type, object.metadata), queryOf(settings)),
        object: describe('update', type, object.metadata),
        body: object,
        signal: settings?.signal,
      }),

    updateStatus: (type, object, settings) =>
      write(type, {
        method: 'PUT',
        path: withQuery(objectPath(type, object.metadata, 'status'), queryOf(settings)),
        object: describe('update', type, object.metadata, 'status'),
        body: object,
        signal: settings?.signal,
      }),

    apply: (type, object, settings) =>
      write(type, {
        method: 'PATCH',
        path: withQuery(objectPath(type, object.metadata, settings.subresource), {
          ...queryOf(settings),
          force: settings.force === true ? true : undefined,
        }),
        object: describe('apply', type, object.metadata, settings.subresource),
        // JSON is YAML.
        contentType: 'application/apply-patch+yaml',
        body: { ...object, apiVersion: apiVersionOf(type), kind: type.kind },
        signal: settings.signal,
      }),

    patch: (type, ref, patch, settings) =>
      write(type, {
        method: 'PATCH',
        path: withQuery(objectPath(type, ref, patch.subresource), queryOf(settings)),
        object: describe('patch', type, ref, patch.subresource),
        contentType: PATCH_TYPES[patch.type],
        body: patch.body,
        signal: settings?.signal,
      }),

    async delete(type, ref, settings = {}) {
      const { uid, resourceVersion, propagation, gracePeriodSeconds } = settings;
      const body = {
        apiVersion: 'v1',
        kind: 'DeleteOptions',
        ...(uid === undefined && resourceVersion === undefined ? {} : { preconditions: { uid, resourceVersion } }),
        ...(propagation === undefined ? {} : { propagationPolicy: propagation }),
        ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
      };
      const object = describe('delete', type, ref);
      try {
        await send({ method: 'DELETE', path: objectPath(type, ref), object, body, signal: settings.signal });
        return true;
      } catch (error) {
        if (isNotFound(error)) return false;
        throw error;
      }
    },

    async request(method, path, settings = {}) {
      const object = `${method} ${path}`;
      const answer = await transport.call(
        {
          ...exchangeOf({ method, object, ...settings, path: withQuery(path, settings.query ?? {}) }),
          signal: settings.signal,
        },
        settings.maxBytes ?? maxAnswerBytes,
      );
      const refused = refusal(answer, object);
      if (refused !== undefined) throw refused;
      return { status: answer.status, body: answer.body };
    },

    async *stream(method, path, settings) {
      const object = `${method} ${path}`;
      const call = { method, object, ...settings, path: withQuery(path, settings.query ?? {}) };
      const response = await openStream(call);
      try {
        for await (const chunk of response) yield chunk as Buffer;
      } catch (error) {
        throw streamError(error, settings.signal, options.access.server, object);
      } finally {
        response.destroy();
      }
    },

    close: () => transport.close(),
  };
  return client;
}

/** A text whose type the caller names is sent as it is. */
function bodyOf({ body, headers = {} }: Call): string | undefined {
  const isTyped = Object.keys(headers).some((name) => name.toLowerCase() === 'content-type');
  if (body === undefined || (typeof body === 'string' && isTyped)) return body;
  return JSON.stringify(body);
}

const isSecret = (type: ResourceType): boolean => type.group === '' && type.plural === 'secrets';

const queryOf = (settings: WriteOptions | undefined) => ({
  fieldManager: settings?.fieldManager,
  dryRun: settings?.dryRun === true ? 'All' : undefined,
});

/** Enough of a refusal to read the Status in it. */
async function firstBytes(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response) {
    chunks.push(chunk as Buffer);
    length += (chunk as Buffer).length;
    if (length > 64 * 1024) break;
  }
  return Buffer.concat(chunks);
}

function streamError(error: unknown, signal: AbortSignal, server: URL, object: string): unknown {
  if (signal.aborted) return signal.reason;
  return error instanceof KubeError ? error : unreachable(server, object, error);
}

/** Pages of one moment. A token that expired on the way begins anew, once: the API server keeps one for five minutes. */
async function listPages<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType<T>,
  selection: Omit<ListOptions, 'continue'>,
): Promise<ObjectList<T>> {
  let limit = selection.limit ?? PAGE;
  for (let restarts = 0; ; ) {
    try {
      const items: T[] = [];
      let next: string | undefined;
      for (;;) {
        const page: ObjectList<T> = await client.list(type, {
          ...selection,
          limit,
          continue: next,
          // The token has the version in it, and the API server refuses both.
          ...(next === undefined ? {} : { resourceVersion: '' }),
        });
        for (const item of page.items) items.push(item);
        if (page.continue === undefined) return { items, resourceVersion: page.resourceVersion };
        next = page.continue;
      }
    } catch (error) {
      // Objects of more than a hundred kilobytes: fewer at a time.
      if (error instanceof KubeError && error.code === 'SPB012' && limit > 20) limit = Math.ceil(limit / 5);
      else if (isExpired(error) && restarts === 0) restarts++;
      else throw error;
    }
  }
}

/** What a Status inside a watch means, as an error. */
export const watchError = (
  status: { readonly code?: number; readonly reason?: string; readonly message?: string },
  object: string,
): KubeError => errorOf(status.code ?? 500, status, object);
