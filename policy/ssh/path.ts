/** A path as rules see it, or why it is none. */
export type NormalisedPath = { readonly path: string; readonly climbs: boolean } | { readonly reason: string };

const MAX_PATH = 4096;

/**
 * The absolute path with `.` segments, doubled and trailing slashes taken out, and `..` resolved by the text alone. `climbs`: there was
 * a `..`, so that the target may mean another file where a folder on the way is a symbolic link: whoever cannot send the normalised
 * path in place of the client's has to refuse it.
 * @param folder absolute path that relative paths start from; without it they are refused
 */
export function normalisePath(text: string, folder?: string): NormalisedPath {
  if (text === '') return { reason: 'a path is empty' };
  if (text.length > MAX_PATH) return { reason: `a path is longer than ${MAX_PATH} characters` };
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is refused
  if (/[\u0000-\u001f\u007f]/.test(text)) return { reason: 'a path has control characters' };
  if (!text.startsWith('/') && folder === undefined) return { reason: `the path ${text} is not absolute` };
  const whole = text.startsWith('/') ? text : `${folder}/${text}`;
  const segments: string[] = [];
  let climbs = false;
  for (const segment of whole.split('/')) {
    if (segment === '' || segment === '.') continue;
    if (segment === '..') {
      climbs = true;
      segments.pop();
    } else segments.push(segment);
  }
  return { path: `/${segments.join('/')}`, climbs };
}
