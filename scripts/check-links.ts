/**
 * No link of a document may be dead: files and folders that it names must be there, and so must the headings behind a `#`. Sources and
 * examples that name a document are held to the same. Addresses on the web are not asked: their being away is no fault of a change.
 * Exit status 1 and one line per finding when broken.
 */
import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

const FOLDERS = [
  'api',
  'policy',
  'approval',
  'kube',
  'operator',
  'proxy',
  'cli',
  'crds',
  'docs',
  'examples',
  'scripts',
  'test',
  'bench',
  'demo',
];
const DOCUMENTS = ['*.md', ...FOLDERS.map((folder) => `${folder}/**/*.md`)];
const SOURCES = FOLDERS.flatMap((folder) => [`${folder}/**/*.ts`, `${folder}/**/*.yaml`]);

const LINK = /(?<!!)\[[^\]]*\]\(([^)\s]+)\)/g;
/** A document as sources name it: from the root of the repository. */
const MENTION = /(?<![\w./-])docs\/(?:reference\/)?[a-z][\w/.-]*\.md\b/g;
const ELSEWHERE = /^[a-z][a-z0-9+.-]*:/i;

/** What a reader sees: without blocks of code, each replaced by as many line feeds. */
function prose(text: string): string {
  return text.replace(/^(```+|~~~+)[^\n]*\n.*?^\1[^\n]*$/gms, (block) => block.replace(/[^\n]/g, ''));
}

/** The names that GitHub gives to headings. */
function anchors(text: string): Set<string> {
  const seen = new Map<string, number>();
  const names = [...prose(text).matchAll(/^#{1,6} +(.+?) *#*$/gm)].map(([, heading = '']) => {
    const slug = heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\p{M}_ -]/gu, '')
      .replaceAll(' ', '-');
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    return count === 0 ? slug : `${slug}-${count}`;
  });
  return new Set(names);
}

function lineOf(text: string, index: number): number {
  return text.slice(0, index).split('\n').length;
}

function wrongWith(target: string, file: string): string | undefined {
  const [path = '', fragment] = target.split('#');
  const found = path === '' ? file : normalize(join(dirname(file), decodeURIComponent(path)));
  if (found.startsWith('..')) return 'leads out of the repository';
  if (!existsSync(found)) return `there is no ${found}`;
  if (fragment === undefined || fragment === '' || !found.endsWith('.md') || statSync(found).isDirectory())
    return undefined;
  return anchors(readFileSync(found, 'utf8')).has(fragment) ? undefined : `${found} has no heading #${fragment}`;
}

function inDocument(file: string): string[] {
  const text = prose(readFileSync(file, 'utf8'));
  return [...text.matchAll(LINK)].flatMap(({ 1: target = '', index }) => {
    const wrong = ELSEWHERE.test(target) ? undefined : wrongWith(target, file);
    return wrong === undefined ? [] : [`${file}:${lineOf(text, index)}: dead link ${target}: ${wrong}`];
  });
}

function inSource(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(MENTION)].flatMap(({ 0: document, index }) =>
    existsSync(document) ? [] : [`${file}:${lineOf(text, index)}: names ${document}, which is not there`],
  );
}

const findings = [...globSync(DOCUMENTS).sort().flatMap(inDocument), ...globSync(SOURCES).sort().flatMap(inSource)];
for (const line of findings) console.error(line);
if (findings.length > 0) process.exitCode = 1;
