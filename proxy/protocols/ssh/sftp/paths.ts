import { MAX_PATH } from './constants.ts';

/**
 * Paths as text. What a path *means* only the target knows, since symbolic links decide it: these functions prepare what it is asked,
 * and stand in where it has no answer.
 */

/** Why a path cannot be judged, in words; undefined: it can. */
export function unusable(path: string | undefined): string | undefined {
  if (path === undefined) return 'it is not UTF-8';
  if (Buffer.byteLength(path) > MAX_PATH) return `it has more than ${MAX_PATH} bytes`;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is refused
  return /[\u0000-\u001f\u007f]/.test(path) ? 'it has control characters in it' : undefined;
}

/** Without `.`, `..` and repeated slashes, as if there were no symbolic links. @param base absolute; where a relative path begins */
export function normalise(base: string, path: string): string {
  const kept: string[] = [];
  for (const part of (path.startsWith('/') ? path : `${base}/${path}`).split('/')) {
    if (part === '..') kept.pop();
    else if (part !== '' && part !== '.') kept.push(part);
  }
  return `/${kept.join('/')}`;
}

export function isNormal(path: string): boolean {
  return path.startsWith('/') && normalise('/', path) === path;
}

/**
 * Folder and name of a path whose last part is not followed where it is a symbolic link. Undefined where the last part is no name of its
 * own (`.`, `..`, `/`): the path is the folder that it leads to.
 */
export function splitLast(path: string): { readonly folder: string; readonly name: string } | undefined {
  const trimmed = path.replace(/\/+$/, '');
  const slash = trimmed.lastIndexOf('/');
  const name = trimmed.slice(slash + 1);
  if (name === '' || name === '.' || name === '..') return undefined;
  return { folder: slash < 0 ? '.' : slash === 0 ? '/' : trimmed.slice(0, slash), name };
}

/** `name` in the absolute folder. */
export function within(folder: string, name: string): string {
  return folder === '/' ? `/${name}` : `${folder}/${name}`;
}

/** Path or other text of a client, for a line that people read: what could move a cursor, or end the line, is escaped. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return `\\u{${code.toString(16)}}`;
  });
}
