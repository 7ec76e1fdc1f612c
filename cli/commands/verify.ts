import { access, readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { recordPublicKeys } from '../../proxy/standalone/record-key.ts';
import { describeCause, RecorderError } from '../../record/errors.ts';
import { type NoteVerifier, parseVerifier } from '../../record/note.ts';
import { verifyRecord } from '../../record/verify/verify.ts';
import { errorJson, errorText } from '../errors.ts';
import { type CliIo, defaultState } from '../io.ts';
import { createVerifySummary, reportJson, reportText, summaryJson, summaryText } from './verify-format.ts';

export interface VerifyCommandOptions {
  readonly key: readonly string[];
  readonly anchors?: string;
  readonly output: 'text' | 'json';
}

const EXAMPLES = `
Without --key and --anchors, those of a state folder are used: that finds damage, and tampering by whoever could not write there too.
A key and anchors that were kept elsewhere find all that docs/record.md promises.

Exit status: 0 clean, 1 bad, 2 it could not be verified.

Examples:
  sallyport verify
  sallyport verify /var/lib/sallyport --key record.pub --anchors /mnt/worm/anchors
  sallyport verify record/shop/db/*.jsonl --key "$(cat record.pub)" -o json`;

/** Adds `verify`. */
export function register(program: Command, io: CliIo): void {
  program
    .command('verify')
    .description('Check that the record is as it was written: names the first line of each stream that is not')
    .argument('[path...]', 'state folders, records, folders of one connection, segments (default: the state folder)')
    .option(
      '--key <key>',
      'public key as `record key` prints it, or a file of such; may be repeated',
      (value: string, all: string[] = []) => [...all, value],
      [],
    )
    .option('--anchors <dir>', 'folder of anchored checkpoints')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'))
    .addHelpText('after', EXAMPLES)
    .action((paths: string[], options: VerifyCommandOptions) =>
      verifyOrSay(options, io, (check) => check(paths.length === 0 ? [defaultState(io.env)] : paths)),
    );
}

/** Has a record verified, wherever its files come from. @param find calls back with where they lie, and keeps them there meanwhile */
export async function verifyOrSay(
  options: VerifyCommandOptions,
  io: CliIo,
  find: (check: (paths: readonly string[]) => Promise<void>) => Promise<void>,
): Promise<void> {
  try {
    await find((paths) => verify(paths, options, io));
  } catch (error) {
    // 1 says that the record is bad: what keeps it from being looked at is something else.
    if (!(error instanceof Error)) throw error;
    io.stderr.write(options.output === 'json' ? errorJson(error) : errorText(error));
    io.setExitCode(2);
  }
}

async function verify(given: readonly string[], options: VerifyCommandOptions, io: CliIo): Promise<void> {
  const paths = given.map((path) => resolve(io.cwd, path));
  for (const path of paths) await reachable(path);
  const own = options.key.length === 0 ? await ownKeys(paths) : [];
  const verifiers =
    options.key.length === 0 ? own : (await Promise.all(options.key.map((key) => keysOf(key, io)))).flat();
  const anchors = options.anchors === undefined ? await ownAnchors(paths) : resolve(io.cwd, options.anchors);
  if (anchors !== undefined) await reachable(anchors);
  const text = options.output === 'text';
  const progress = createProgress(io, text && io.isTTY);
  const summary = createVerifySummary({
    keys: verifiers.length === 0 ? 'none' : own.length > 0 ? 'own' : 'given',
    anchors: anchors === undefined ? 'none' : options.anchors === undefined ? 'own' : 'given',
  });
  const reports = verifyRecord({
    ...{ paths, verifiers, signal: io.signal, onProgress: progress.show },
    ...(anchors === undefined ? {} : { anchors }),
  });
  for await (const report of reports) {
    summary.add(report);
    progress.clear();
    io.stdout.write(text ? reportText(report, io.cwd) : reportJson(report));
  }
  progress.clear();
  io.stdout.write(text ? summaryText(summary) : summaryJson(summary));
  if (summary.bad > 0) io.setExitCode(1);
}

async function reachable(path: string): Promise<void> {
  try {
    await access(path);
  } catch (error) {
    throw new RecorderError('SPR008', { path, detail: describeCause(error), cause: error });
  }
}

/** The public keys of the state folders among the paths. */
async function ownKeys(paths: readonly string[]): Promise<NoteVerifier[]> {
  const folders: string[] = [];
  for (const path of paths) if ((await stat(path)).isDirectory()) folders.push(path);
  const texts = (await Promise.all(folders.map(recordPublicKeys))).flat();
  return texts.map((text) => verifierOf(text, text));
}

async function ownAnchors(paths: readonly string[]): Promise<string | undefined> {
  const [path = '', ...others] = paths;
  const folder = join(path, 'anchors');
  return others.length === 0 && (await access(folder).then(...answer)) ? folder : undefined;
}

const answer = [() => true, () => false] as const;

async function keysOf(given: string, io: CliIo): Promise<NoteVerifier[]> {
  const single = parseVerifier(given.trim());
  if (single !== undefined) return [single];
  let content: string;
  try {
    content = await readFile(resolve(io.cwd, given), 'utf8');
  } catch (error) {
    throw new RecorderError('SPR021', { object: JSON.stringify(given), detail: describeCause(error), cause: error });
  }
  const lines = content.split('\n').filter((line) => line.trim() !== '');
  if (lines.length === 0) throw new RecorderError('SPR021', { object: given, detail: 'the file is empty' });
  return lines.map((line) => verifierOf(line.trim(), given));
}

function verifierOf(text: string, source: string): NoteVerifier {
  const verifier = parseVerifier(text);
  if (verifier === undefined) throw new RecorderError('SPR021', { object: source, detail: 'a line is no such key' });
  return verifier;
}

/** How far it is, for a person who waits. */
function createProgress(io: CliIo, shown: boolean) {
  const INTERVAL_MS = 200;
  let next = performance.now() + INTERVAL_MS;
  let visible = false;
  return {
    show(done: number, total: number): void {
      const now = performance.now();
      if (!shown || now < next) return;
      next = now + INTERVAL_MS;
      visible = true;
      const percent = total === 0 ? 100 : Math.min(100, Math.floor((done / total) * 100));
      io.stderr.write(`\r${percent} % of ${Math.round(total / 1e6)} MB `);
    },
    clear(): void {
      if (visible) io.stderr.write('\r\u001b[K');
      visible = false;
    },
  };
}
