import type { FileAccess } from './commands.ts';
import { normalisePath } from './path.ts';
import type { Transfer } from './scp.ts';

/**
 * Short options that change what is moved and how, but not where to (rsync 3.2, options.c, `server_options`). Not among them: `s`, which
 * sends the paths later where nobody sees them; `T`, `f`, `F`, `M`, which take a value; `K`, which writes through links out of the tree.
 */
const SHORT = /^-(?:[0468bcdgiklmnopqrtuvxyzACDEHILNOPRSUWXJ]*)(?:e[0-9]*\.[A-Za-z0-9.]*)?$/;
const FLAGS: ReadonlySet<string> = new Set(
  `append append-verify atimes checksum copy-unsafe-links crtimes delay-updates delete delete-after delete-before delete-delay
  delete-during delete-excluded delete-missing-args dirs existing force fsync fuzzy ignore-errors ignore-existing
  ignore-missing-args inplace links list-only mkpath modify-window munge-links new-compress no-compress no-dirs no-i-r no-implied-dirs
  no-inc-recursive no-r no-relative no-W no-whole-file numeric-ids old-compress omit-dir-times omit-link-times one-file-system
  open-noatime partial perms preallocate prune-empty-dirs recursive relative remove-sent-files remove-source-files safe-links
  size-only sparse specials stats times update use-qsort whole-file zc zl`.split(/\s+/),
);
/**
 * Values that are numbers or plain words, never paths. Without `block-size`: who writes a file is sent the checksum of each block of what
 * is there already, and that of a block of one byte is the byte.
 */
const VALUES =
  /^--(bwlimit|checksum-choice|checksum-seed|cc|compress-choice|compress-level|debug|info|log-format|max-alloc|max-delete|max-size|min-size|modify-window|skip-compress|stop-after|stop-at|suffix|timeout|zc|zl)=[A-Za-z0-9,.%+:~_-]*$/;

/**
 * The far end of an rsync: `rsync --server [--sender] OPTIONS . PATH...`. All that it touches is below its paths, since every option
 * that names another place, runs something, or hides the paths is refused. Undefined when it is rsync as a client.
 */
export function rsyncServer(argv: readonly string[]): Transfer<readonly FileAccess[]> | undefined {
  if ((argv[0] !== 'rsync' && argv[0] !== '/usr/bin/rsync') || argv[1] !== '--server') return undefined;
  let sender = false;
  let removes = false;
  let at = 2;
  for (; at < argv.length; at++) {
    const word = argv[at] ?? '';
    if (!word.startsWith('-')) break;
    if (word === '--sender') sender = true;
    else if (word.startsWith('--')) {
      const name = word.slice(2);
      if (!FLAGS.has(name) && !VALUES.test(word) && word !== '--partial-dir=.rsync-partial') {
        return { reason: `rsync has the option ${word}` };
      }
      if (name === 'remove-source-files' || name === 'remove-sent-files') removes = true;
    } else if (!SHORT.test(word)) return { reason: `rsync has the option ${word}` };
  }
  // The options end with a dot that stands for the folder of the other side.
  if (argv[at] !== '.') return { reason: 'rsync --server has no "." before its paths' };
  const paths = argv.slice(at + 1);
  if (paths.length === 0 || (!sender && paths.length > 1)) {
    return { reason: 'rsync names no path, or several to write to' };
  }
  const files: FileAccess[] = [];
  for (const text of paths) {
    const normal = normalisePath(text);
    if ('reason' in normal) return { reason: `rsync: ${normal.reason}` };
    if (normal.climbs) return { reason: `rsync: the path ${text} has ..` };
    const { path } = normal;
    if (sender) files.push({ operation: 'ReadFile', path, tree: true });
    if (!sender || removes) files.push({ operation: 'WriteFile', path, tree: true });
  }
  return files;
}
