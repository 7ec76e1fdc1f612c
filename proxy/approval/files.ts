import { randomUUID } from 'node:crypto';
import type { Stats } from 'node:fs';
import { chmod, link, lstat, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseDocument, stringify } from 'yaml';
import type { ApprovalRequest } from '../../api/resources.ts';
import { checkStructure } from '../../api/schema.ts';
import { structureProblems } from '../../api/structure-error.ts';
import { ApprovalError, causeOf, hasCode } from './errors.ts';
import { withFileLock } from './file-lock.ts';
import { createParsedCache } from './parsed-cache.ts';
import { createQueues } from './queues.ts';
import type { Holder } from './request.ts';
import {
  isNamespaceName,
  isRequestName,
  isRequestRef,
  type RequestRef,
  type RequestStore,
  refOf,
  type StoredRequest,
} from './request-store.ts';
import { watchRequests } from './watch.ts';

/** Requests as YAML files DIR/NAMESPACE/NAME.yaml, which several processes share. */
export interface RequestFiles extends RequestStore {
  readonly root: string;
  path(ref: RequestRef): string;
}

/** A request is at most 64 KiB of command, escaped, and 20 votes. */
const MAX_FILE_BYTES = 1_048_576;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const EXTENSION = '.yaml';
const POLL_MS = 1000;

/** @param pollMs milliseconds between regular looks of a watch, besides those at what the system reports */
export function createRequestFiles(root: string, holder: Holder, pollMs = POLL_MS): RequestFiles {
  const path = (ref: RequestRef): string => {
    if (!isRequestRef(ref)) throw new ApprovalError('SPV022', [JSON.stringify(`${ref.namespace}/${ref.name}`), root]);
    return join(root, ref.namespace, `${ref.name}${EXTENSION}`);
  };

  const queue = createQueues();
  const parsed = createParsedCache();

  /**
   * A folder that its owner opened to a group is for approvers of that group: they read requests and put other files in their place,
   * for which the folder's rights count. Otherwise nobody else gets in.
   */
  async function modes(): Promise<{ readonly file: number; readonly folder: number }> {
    const group = ((await stat(root)).mode & 0o070) === 0o070;
    return group ? { file: 0o640, folder: 0o2770 } : { file: 0o600, folder: 0o700 };
  }

  async function list(folder: string): Promise<readonly string[]> {
    try {
      return await readdir(folder);
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return [];
      throw error;
    }
  }

  async function read(ref: RequestRef): Promise<StoredRequest | undefined> {
    const file = path(ref);
    let text: string;
    let stamp: string;
    try {
      const stats = await lstat(file);
      if (!stats.isFile()) throw new ApprovalError('SPV020', [file, 'it is not a plain file']);
      if (stats.size > MAX_FILE_BYTES) throw new ApprovalError('SPV020', [file, `it has ${stats.size} bytes`]);
      stamp = stampOf(stats);
      const known = parsed.get(file, stamp);
      if (known !== undefined) return { request: known, stamp };
      text = await readFile(file, 'utf8');
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error instanceof ApprovalError ? error : new ApprovalError('SPV020', [file, causeOf(error)], error);
    }
    const request = parseRequest(file, text, ref);
    parsed.put(file, stamp, request, text.length);
    return { request, stamp };
  }

  return {
    root,
    place: root,
    path,
    async prepare(namespace) {
      if (!isNamespaceName(namespace)) throw new ApprovalError('SPV004', ['the namespace is no name']);
      await mkdir(root, { recursive: true, mode: 0o700 });
      const folder = join(root, namespace);
      try {
        await mkdir(folder, { mode: 0o700 });
      } catch (error) {
        if (hasCode(error, 'EEXIST') && (await stat(folder)).isDirectory()) return;
        throw error;
      }
      await chmod(folder, (await modes()).folder);
    },
    async namespaces() {
      return (await list(root)).filter((name) => isNamespaceName(name)).sort();
    },
    async names(namespace) {
      if (!isNamespaceName(namespace)) return [];
      return (await list(join(root, namespace)))
        .filter((name) => name.endsWith(EXTENSION))
        .map((name) => name.slice(0, -EXTENSION.length))
        .filter((name) => isRequestName(name))
        .sort();
    },
    read,
    // A file is as it is: there is nothing older to look at.
    peek: read,
    writtenAt: (stamp) => Number(stamp.split(' ').at(-1)),
    remove: (ref) => rm(path(ref), { force: true }),
    removeDrafts: (namespace, before) => removeDrafts(join(root, namespace), before),
    watch: (namespace, onChange) => watchRequests(join(root, namespace), pollMs, onChange),
    async stamp(ref) {
      try {
        return stampOf(await lstat(path(ref)));
      } catch (error) {
        if (hasCode(error, 'ENOENT')) return undefined;
        throw error;
      }
    },
    async create(request) {
      const file = path(refOf(request));
      const draft = await writeDraft(file, request, (await modes()).file, true);
      try {
        // Unlike rename, link does not replace: of two processes that make one request, one wins and both use it.
        await link(draft, file);
      } catch (error) {
        if (hasCode(error, 'EEXIST')) return undefined;
        throw error;
      } finally {
        await rm(draft, { force: true });
      }
      return { request, stamp: stampOf(await lstat(file)) };
    },
    update(ref, change) {
      const file = path(ref);
      // One after the other here: many waiters on the lock of a file would only keep each other from it.
      return queue(file, async () => {
        const { file: mode } = await modes();
        return withFileLock(file, holder, mode, async () => {
          const found = await read(ref);
          const changed = found && change(found.request);
          if (changed === undefined) return found;
          // Nobody could read it any more.
          const [problem] = structureProblems(checkStructure('ApprovalRequest', changed));
          if (problem !== undefined) throw new ApprovalError('SPV020', [file, problem.message]);
          const draft = await writeDraft(file, changed, mode, false);
          await rename(draft, file);
          return { request: changed, stamp: stampOf(await lstat(file)) };
        });
      });
    },
  };
}

function stampOf({ ino, size, ctimeMs, mtimeMs }: Stats): string {
  return `${ino} ${size} ${ctimeMs} ${mtimeMs}`;
}

async function writeDraft(file: string, request: ApprovalRequest, mode: number, durable: boolean): Promise<string> {
  const draft = `${file}.${randomUUID()}`;
  const handle = await open(draft, 'wx', mode);
  try {
    // Whatever the umask of an approver is, the gateway has to read it.
    await handle.chmod(mode);
    await handle.writeFile(requestYaml(request));
    if (durable) await handle.datasync();
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
  return draft;
}

async function removeDrafts(folder: string, before: number): Promise<void> {
  for (const file of await readdir(folder)) {
    if (file.endsWith(EXTENSION)) continue;
    const path = join(folder, file);
    const found = await stat(path).catch((error: unknown) => {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error;
    });
    if (found?.isFile() === true && found.mtimeMs < before) await rm(path, { force: true });
  }
}

/** As a person reads it: long texts as blocks, never folded. */
export function requestYaml(request: ApprovalRequest): string {
  return stringify(request, { lineWidth: 0, aliasDuplicateObjects: false });
}

/** @throws ApprovalError SPV020 */
function parseRequest(file: string, text: string, ref: RequestRef): ApprovalRequest {
  const broken = (why: string, cause?: unknown): ApprovalError => new ApprovalError('SPV020', [file, why], cause);
  let value: unknown;
  try {
    const document = parseDocument(text, { uniqueKeys: true, prettyErrors: false });
    if (document.errors.length > 0) throw broken('it is not YAML');
    value = document.toJS({ maxAliasCount: 0 });
  } catch (error) {
    // Nested too deep, or full of aliases: whatever the parser dies of, the file approves nothing.
    throw error instanceof ApprovalError ? error : broken('it is not YAML', error);
  }
  const [problem] = structureProblems(checkStructure('ApprovalRequest', value));
  if (problem !== undefined) throw broken(problem.message);
  const request = value as ApprovalRequest;
  const { apiVersion, kind, metadata } = request;
  if (apiVersion !== 'sallyport.dev/v1alpha1' || kind !== 'ApprovalRequest') throw broken('it is no ApprovalRequest');
  if (metadata.namespace !== ref.namespace || metadata.name !== ref.name) throw broken('it is of another name');
  if (metadata.uid === undefined || !UUID.test(metadata.uid)) throw broken('it has no uid');
  if (Number.isNaN(Date.parse(metadata.creationTimestamp ?? ''))) throw broken('it does not say when it was made');
  return request;
}
