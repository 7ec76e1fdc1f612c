import type { FileAccess } from './commands.ts';
import { normalisePath } from './path.ts';

/** What a command that moves files would do, or why that is not certain. */
export type Transfer<T> = T | { readonly reason: string };

export interface ScpServer {
  readonly role: 'sink' | 'source';
  readonly recursive: boolean;
  readonly files: readonly FileAccess[];
}

/**
 * The far end of a legacy scp: `scp [-v] [-r] [-p] [-d] [-q] -t PATH` or `-f PATH...`, as clients run it
 * (OpenSSH, scp.c: `do_cmd` with `-t` or `-f`). Undefined when it is scp as a client.
 */
export function scpServer(argv: readonly string[]): Transfer<ScpServer> | undefined {
  if (argv[0] !== 'scp' && argv[0] !== '/usr/bin/scp') return undefined;
  const flags = new Set<string>();
  let at = 1;
  for (; at < argv.length; at++) {
    const word = argv[at] ?? '';
    if (!word.startsWith('-') || word === '-') break;
    if (word === '--') {
      at++;
      break;
    }
    if (!/^-[vrpdqtf]+$/.test(word)) {
      return argv.some((each) => /^-[a-z]*[tf]/.test(each)) ? { reason: `scp has the option ${word}` } : undefined;
    }
    for (const flag of word.slice(1)) flags.add(flag);
  }
  const sink = flags.has('t');
  if (!sink && !flags.has('f')) return undefined;
  if (sink && flags.has('f')) return { reason: 'scp has both -t and -f' };
  const paths = argv.slice(at);
  if (paths.length === 0 || (sink && paths.length > 1)) return { reason: 'scp names no path, or several to write to' };
  const recursive = flags.has('r');
  const files: FileAccess[] = [];
  for (const text of paths) {
    const normal = normalisePath(text);
    if ('reason' in normal) return { reason: `scp: ${normal.reason}` };
    if (normal.climbs) return { reason: `scp: the path ${text} has ..` };
    // The client names what is written below a folder, and nothing here sees those names.
    files.push({ operation: sink ? 'WriteFile' : 'ReadFile', path: normal.path, tree: sink || recursive });
  }
  return { role: sink ? 'sink' : 'source', recursive, files };
}
