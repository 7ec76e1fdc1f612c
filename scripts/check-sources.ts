/**
 * Rules that neither the compiler nor the linters know: only main files touch `process`, nothing is left
 * unfinished or silenced, and an error code means one thing.
 * Exit status 1 and one line per finding when broken.
 */
import { globSync, readFileSync } from 'node:fs';

interface SourceRule {
  readonly name: string;
  readonly files: readonly string[];
  readonly except?: RegExp;
  readonly pattern: RegExp;
  readonly advice: string;
}

const PRODUCT = [
  'api',
  'policy',
  'approval',
  'record',
  'delivery',
  'certificate',
  'kube',
  'operator',
  'proxy',
  'archive',
  'cli',
].map((folder) => `${folder}/**/*.ts`);
const EVERYTHING = [...PRODUCT, 'scripts/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts', 'demo/**/*.ts'];

const RULES: readonly SourceRule[] = [
  {
    name: 'process-only-in-main',
    files: PRODUCT,
    except: /(^|\/)main\.ts$|\.(test|fixture)\.ts$|^policy\/testing\/|^api\/generated\//,
    // `process.hrtime`, `nextTick`, `memoryUsage` and `versions` read or steer the runtime, not the environment of the program.
    pattern:
      /(?<![.\w'"`])process\.(?!hrtime\b|nextTick\b|memoryUsage\b|cpuUsage\b|emitWarning\b|versions\b)\w+|from '(node:)?process'/,
    advice: 'take it as a parameter; the main file passes it in',
  },
  {
    name: 'nothing-unfinished',
    files: EVERYTHING,
    except: /^scripts\/check-sources\.ts$/,
    pattern: /\b(TODO|FIXME|XXX)\b/,
    advice: 'finish it, or say in words what is not done and why',
  },
  {
    name: 'no-silenced-compiler',
    files: EVERYTHING,
    except: /^scripts\/check-sources\.ts$/,
    pattern: /@ts-(ignore|nocheck|expect-error)\b|\bas any\b/,
    advice: 'give the value its type',
  },
];

function findings(rule: SourceRule): string[] {
  const files = globSync([...rule.files]).filter((file) => rule.except?.test(file) !== true);
  return files.sort().flatMap((file) =>
    readFileSync(file, 'utf8')
      .split('\n')
      .flatMap((line, index) => {
        const isComment = /^\s*(\*|\/\/|\/\*)/.test(line);
        if (isComment && rule.name === 'process-only-in-main') return [];
        return rule.pattern.test(line) ? [`${file}:${index + 1}: ${rule.name}: ${line.trim()} (${rule.advice})`] : [];
      }),
  );
}

/** A code means one thing: people search for it, and scripts compare it. */
function duplicateErrorCodes(): string[] {
  const places = new Map<string, string[]>();
  for (const file of globSync([...PRODUCT]).filter((name) => /errors\.ts$/.test(name))) {
    readFileSync(file, 'utf8')
      .split('\n')
      .forEach((line, index) => {
        const code = /^\s+(SP[A-Z]\d{3}):/.exec(line)?.[1];
        if (code !== undefined) places.set(code, [...(places.get(code) ?? []), `${file}:${index + 1}`]);
      });
  }
  return [...places]
    .filter(([, where]) => where.length > 1)
    .map(([code, where]) => `${where.join(', ')}: one-meaning-per-code: ${code} (give each its own number)`);
}

const found = [...RULES.flatMap(findings), ...duplicateErrorCodes()];
for (const finding of found) console.error(finding);
if (found.length > 0) process.exitCode = 1;
