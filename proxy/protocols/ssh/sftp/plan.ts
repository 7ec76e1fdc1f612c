import type { StatusAnswer } from './answers.ts';
import * as n from './constants.ts';
import { fileErrorText } from './errors.ts';
import { packet, readFields } from './fields.ts';
import { normalise, splitLast, unusable, within } from './paths.ts';
import type { FileAccessTo, FileOperation, FileRequest } from './port.ts';
import type { PathOperation, SftpRequest } from './requests.ts';

/**
 * What a request by path means: the accesses that are judged, and the packet that is sent in its place. The two say the same path: what
 * the target makes of the client's is asked beforehand and sent instead of it, so that no symbolic link leads elsewhere afterwards.
 */
export interface Plan {
  readonly request: FileRequest;
  /** With a free id. */
  readonly frame: Buffer;
  /** What answers it besides STATUS. */
  readonly expected: number | undefined;
  /** The target has said already that it cannot be done; nothing is sent. Told only to whoever may know. */
  readonly failed: StatusAnswer | undefined;
}

/** What is asked of the target while a plan is made. */
export interface Resolver {
  /** The path with every symbolic link followed; its last part need not be there. */
  real(path: string): Promise<{ readonly path: string } | { readonly failed: StatusAnswer }>;
  /** Where relative paths begin. */
  home(): Promise<string>;
  isFolder(path: string): Promise<boolean>;
  readable(path: string): boolean;
  /** Contents there are protected because of where they lie. */
  protects(path: string, tree: boolean): boolean;
}

/** Refused without asking policy, in words. */
export interface Unjudged {
  readonly refused: string;
}

interface Found {
  readonly path: string;
  readonly failed: StatusAnswer | undefined;
}

/** Requests that name files by path and change or show them. */
export type PlannedRequest = Extract<
  SftpRequest,
  {
    type:
      | 'open'
      | PathOperation
      | 'setstat'
      | 'lsetstat'
      | 'mkdir'
      | 'rename'
      | 'posix-rename'
      | 'hardlink'
      | 'symlink';
  }
>;

export async function planOf(request: PlannedRequest, resolver: Resolver): Promise<Plan | Unjudged> {
  switch (request.type) {
    case 'open':
      return onPath(request.path, follow, (path) => ({
        operation: 'open',
        accesses: openAccesses(request.flags, path),
        ...detailOf(`${openWords(request.flags)} ${attributeWords(request.attributes)}`.trim()),
        frame: packet(n.OPEN, 0, path, request.flags, { raw: request.attributes }),
        expected: n.HANDLE,
      }));
    case 'opendir':
      return onPath(request.path, follow, (path) => ({
        operation: 'opendir',
        accesses: [{ access: 'ReadFile', path }],
        frame: packet(n.OPENDIR, 0, path),
        expected: n.HANDLE,
      }));
    case 'stat':
      return onPath(request.path, follow, (path) => ({
        ...metadata('stat', path),
        frame: packet(n.STAT, 0, path),
        expected: n.ATTRS,
      }));
    case 'lstat':
      return onPath(request.path, ofFolder, (path) => ({
        ...metadata('lstat', path),
        frame: packet(n.LSTAT, 0, path),
        expected: n.ATTRS,
      }));
    case 'readlink':
      return onPath(request.path, ofFolder, (path) => ({
        ...metadata('readlink', path),
        frame: packet(n.READLINK, 0, path),
        expected: n.NAME,
      }));
    case 'statvfs':
      return onPath(request.path, follow, (path) => ({
        ...metadata('statvfs', path),
        frame: extended('statvfs@openssh.com', path),
        expected: n.EXTENDED_REPLY,
      }));
    case 'setstat':
      return onPath(request.path, follow, (path) => ({
        ...writing('setstat', path),
        ...detailOf(attributeWords(request.attributes)),
        frame: packet(n.SETSTAT, 0, path, { raw: request.attributes }),
      }));
    case 'lsetstat':
      return onPath(request.path, ofFolder, (path) => ({
        ...writing('setstat', path),
        ...detailOf(attributeWords(request.attributes)),
        frame: extended('lsetstat@openssh.com', path, request.attributes),
      }));
    case 'mkdir':
      return onPath(request.path, ofFolder, (path) => ({
        ...writing('mkdir', path),
        ...detailOf(attributeWords(request.attributes)),
        frame: packet(n.MKDIR, 0, path, { raw: request.attributes }),
      }));
    case 'rmdir':
      return onPath(request.path, ofFolder, (path) => ({ ...writing('rmdir', path), frame: packet(n.RMDIR, 0, path) }));
    case 'remove':
      return onPath(request.path, ofFolder, (path) => ({
        ...writing('remove', path),
        frame: packet(n.REMOVE, 0, path),
      }));
    case 'rename':
    case 'posix-rename':
      return rename(request.type, request.from, request.to);
    case 'hardlink':
      return hardlink(request.from, request.to);
    case 'symlink':
      return symlink(request.target, request.link);
    default: {
      const never: never = request;
      throw new TypeError(`unexpected ${JSON.stringify(never)}`);
    }
  }

  async function onPath(
    path: string | undefined,
    find: (path: string) => Promise<Found>,
    make: (path: string) => FileRequest & { readonly frame: Buffer; readonly expected?: number },
  ): Promise<Plan | Unjudged> {
    const reason = unusable(path);
    if (path === undefined || reason !== undefined) return refuse(reason);
    const found = await find(path);
    const { frame, expected, ...asked } = make(found.path);
    return { request: asked, frame, expected, failed: found.failed };
  }

  /** The file that a path leads to, through symbolic links. */
  async function follow(path: string): Promise<Found> {
    const found = await resolver.real(path);
    if ('path' in found) return { path: found.path, failed: undefined };
    return { path: normalise(await resolver.home(), path), failed: found.failed };
  }

  /** The entry itself, whether it is a symbolic link or not. */
  async function ofFolder(path: string): Promise<Found> {
    const last = splitLast(path);
    if (last === undefined) return follow(path);
    const folder = await follow(last.folder);
    return { path: within(folder.path, last.name), failed: folder.failed };
  }

  async function rename(type: 'rename' | 'posix-rename', from: Path, to: Path): Promise<Plan | Unjudged> {
    const reason = unusable(from) ?? unusable(to);
    if (from === undefined || to === undefined || reason !== undefined) return refuse(reason);
    const source = await ofFolder(from);
    const target = await ofFolder(to);
    const failed = source.failed ?? target.failed;
    // What is below a folder is moved from under the rules about it, so all of it has to be granted.
    const folder = failed === undefined && (await resolver.isFolder(source.path));
    if (uncovers(source.path, target.path, folder)) return { refused: fileErrorText('SPS083', source.path) };
    const accesses = moved(source.path, target.path, folder);
    const frame =
      type === 'rename'
        ? packet(n.RENAME, 0, source.path, target.path)
        : extended('posix-rename@openssh.com', source.path, undefined, target.path);
    return { request: { operation: 'rename', accesses }, frame, expected: undefined, failed };
  }

  async function hardlink(from: Path, to: Path): Promise<Plan | Unjudged> {
    const reason = unusable(from) ?? unusable(to);
    if (from === undefined || to === undefined || reason !== undefined) return refuse(reason);
    const source = await ofFolder(from);
    const target = await ofFolder(to);
    // Some systems follow a symbolic link here and some do not (POSIX leaves it open), so both are judged.
    const followed = await follow(from);
    if (uncovers(source.path, target.path, false) || uncovers(followed.path, target.path, false))
      return { refused: fileErrorText('SPS083', source.path) };
    const accesses: FileAccessTo[] = [...moved(source.path, target.path, false)];
    if (followed.path !== source.path) accesses.push(...moved(followed.path, target.path, false));
    return {
      request: { operation: 'hardlink', accesses },
      frame: extended('hardlink@openssh.com', source.path, undefined, target.path),
      expected: undefined,
      failed: source.failed ?? target.failed,
    };
  }

  async function symlink(target: Path, link: Path): Promise<Plan | Unjudged> {
    const reason = unusable(target) ?? unusable(link);
    if (target === undefined || link === undefined || reason !== undefined) return refuse(reason);
    const place = await ofFolder(link);
    const folder = splitLast(place.path)?.folder ?? '/';
    const end = await follow(target.startsWith('/') ? target : within(folder, target));
    return {
      request: {
        operation: 'symlink',
        accesses: [
          { access: 'WriteFile', path: place.path },
          { access: 'WriteFile', path: end.path },
        ],
        ...detailOf(`to ${target}`),
      },
      // A relative target means something only as it was written.
      frame: packet(n.SYMLINK, 0, target, place.path),
      expected: undefined,
      // A link to what is not there yet may be made; one in a folder that is not there may not.
      failed: place.failed,
    };
  }

  /** What is protected where it lies would not be where it goes. */
  function uncovers(from: string, to: string, folder: boolean): boolean {
    return resolver.protects(from, folder) && (folder || !resolver.protects(to, false));
  }

  /** Both ends are written; and what may not be read does not go to where it may be. */
  function moved(from: string, to: string, folder: boolean): readonly FileAccessTo[] {
    const tree = folder ? ({ tree: true } as const) : {};
    const accesses: FileAccessTo[] = [
      { access: 'WriteFile', path: from, ...tree },
      { access: 'WriteFile', path: to, ...tree },
    ];
    if (resolver.readable(to)) accesses.push({ access: 'ReadFile', path: from, ...tree });
    return accesses;
  }
}

type Path = string | undefined;

function refuse(reason: string | undefined): Unjudged {
  return { refused: fileErrorText('SPS072', reason ?? 'it is not UTF-8') };
}

function metadata(operation: FileOperation, path: string): FileRequest {
  return {
    operation,
    accesses: [
      { access: 'ReadFile', path },
      { access: 'WriteFile', path },
    ],
    metadata: true,
  };
}

function writing(operation: FileOperation, path: string): FileRequest {
  return { operation, accesses: [{ access: 'WriteFile', path }] };
}

function extended(name: string, path: string, attributes?: Buffer, second?: string): Buffer {
  return packet(
    n.EXTENDED,
    0,
    name,
    path,
    ...(attributes === undefined ? [] : [{ raw: attributes }]),
    ...(second === undefined ? [] : [second]),
  );
}

const WRITING_FLAGS = n.WRITE_FLAG | n.APPEND_FLAG | n.CREATE_FLAG | n.TRUNCATE_FLAG | n.EXCLUSIVE_FLAG;

/** Without a flag to write a file is opened for reading, but one that creates or truncates does so all the same. */
export function opensForReading(flags: number): boolean {
  return (flags & n.READ_FLAG) !== 0 || (flags & n.WRITE_FLAG) === 0;
}

function openAccesses(flags: number, path: string): readonly FileAccessTo[] {
  const accesses: FileAccessTo[] = [];
  if (opensForReading(flags)) accesses.push({ access: 'ReadFile', path });
  if ((flags & WRITING_FLAGS) !== 0) accesses.push({ access: 'WriteFile', path });
  return accesses;
}

const FLAG_WORDS: readonly (readonly [number, string])[] = [
  [n.APPEND_FLAG, 'append'],
  [n.CREATE_FLAG, 'create'],
  [n.TRUNCATE_FLAG, 'truncate'],
  [n.EXCLUSIVE_FLAG, 'exclusive'],
];

function openWords(flags: number): string {
  return FLAG_WORDS.filter(([flag]) => (flags & flag) !== 0)
    .map(([, word]) => word)
    .join(' ');
}

/** Attributes that are to be set, such as `mode 0644 times`. */
export function attributeWords(attributes: Buffer): string {
  const fields = readFields(attributes, 0, 'SPS070');
  const flags = fields.uint32();
  const words: string[] = [];
  if ((flags & n.ATTR_SIZE) !== 0) words.push(`size ${fields.uint64()}`);
  if ((flags & n.ATTR_UIDGID) !== 0) words.push(`owner ${fields.uint32()}:${fields.uint32()}`);
  if ((flags & n.ATTR_PERMISSIONS) !== 0) words.push(`mode ${(fields.uint32() & 0o7777).toString(8).padStart(4, '0')}`);
  if ((flags & n.ATTR_ACMODTIME) !== 0) words.push('times');
  return words.join(' ');
}

function detailOf(detail: string): { readonly detail?: string } {
  return detail === '' ? {} : { detail };
}
