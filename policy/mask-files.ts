import { RE2JS } from 're2js';
import type { MaskingRule } from '../api/resources.ts';
import { globsOverlap } from './glob.ts';
import type { FileMask } from './masking.ts';

/** One path of `files`, with what it does. */
export interface FilePattern {
  readonly pattern: string;
  readonly action: FileMask['action'];
  readonly rule: string;
  /** @param path absolute and normalised */
  matches(path: string): boolean;
}

export function compileFiles(files: MaskingRule['spec']['files'], rule: string): readonly FilePattern[] {
  return (files ?? []).flatMap(({ paths, action = 'Deny' }) =>
    paths.map((pattern) => ({ pattern, action, rule, matches: pathMatcher(pattern) })),
  );
}

/** `*` stays inside one folder, `**` crosses folders. Linear in the path whatever the pattern: it is RE2 that matches. */
function pathMatcher(pattern: string): (path: string) => boolean {
  const star = pattern.indexOf('*');
  if (star < 0) return (path) => path === pattern;
  const head = pattern.slice(0, star);
  const source = pattern
    .split(/(\*+)/)
    .map((part) => (part === '*' ? '[^/]*' : part.startsWith('*') ? '.*' : RE2JS.quote(part)))
    .join('');
  const whole = RE2JS.compile(source, RE2JS.DOTALL);
  return (path) => path.startsWith(head) && whole.matches(path);
}

/** The strictest protection of a file, or of anything below a folder, by all patterns that cover it. */
export function protectionOf(patterns: readonly FilePattern[], path: string, tree: boolean): FileMask | undefined {
  let action: FileMask['action'] | undefined;
  const rules = new Set<string>();
  for (const pattern of patterns) {
    const below = tree && globsOverlap(pattern.pattern, path === '/' ? '/*' : `${path}/*`);
    if (!below && !pattern.matches(path)) continue;
    rules.add(pattern.rule);
    // Of a whole tree nobody sees the single files go by, so that nothing in it could be masked.
    if (action !== 'Deny') action = below ? 'Deny' : pattern.action;
  }
  return action === undefined ? undefined : { action, rules: [...rules].sort() };
}
