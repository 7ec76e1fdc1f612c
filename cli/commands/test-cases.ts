import { readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Ajv } from 'ajv';
import { isNode, LineCounter, parseAllDocuments } from 'yaml';
import { CliError } from '../errors.ts';
import type { ApiQuestion } from './api-question.ts';
import { ASKED_OPERATIONS, type SshQuestion } from './ssh-question.ts';

/** One case of a SallyportTest, with the place where it stands. */
export interface TestCase extends SshQuestion, ApiQuestion {
  readonly name: string;
  readonly as: string;
  readonly groups?: readonly string[];
  readonly claims?: Readonly<Record<string, string | readonly string[]>>;
  readonly connection: string;
  readonly command: string;
  readonly at?: string;
  readonly expect: Verdict | Expectation;
  readonly line: number;
}

export type Verdict = 'Allow' | 'Deny' | 'RequireApproval';

export interface Expectation {
  readonly verdict: Verdict;
  /** `RULE`, `POLICY/RULE` or `NAMESPACE/POLICY/RULE` of a rule that decided. */
  readonly rule?: string;
  /** What was denied, such as `Delete on public.orders`. */
  readonly denied?: string;
  /** Part of the message that the agent sees. */
  readonly message?: string;
  /** In Observe: the verdict that Enforce would give. */
  readonly observed?: 'Deny' | 'RequireApproval';
}

export interface TestSuite {
  readonly file: string;
  readonly name: string;
  /** Resources that the cases are decided on. */
  readonly paths: readonly string[];
  readonly cases: readonly TestCase[];
}

const VERDICT = { enum: ['Allow', 'Deny', 'RequireApproval'] };
const TEXT = { type: 'string', minLength: 1, maxLength: 65_536 };
const texts = (maxItems: number): object => ({ type: 'array', minItems: 1, maxItems, items: TEXT });
const closed = (required: readonly string[], properties: object): object => ({
  type: 'object',
  additionalProperties: false,
  required,
  properties,
});
const CASE = {
  as: TEXT,
  groups: texts(64),
  claims: { type: 'object', additionalProperties: { anyOf: [TEXT, texts(64)] } },
  connection: TEXT,
  loginUser: TEXT,
  operation: { enum: ASKED_OPERATIONS },
  terminal: { type: 'boolean' },
  body: {},
  headers: { type: 'object', maxProperties: 64, additionalProperties: TEXT },
  at: { type: 'string', pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(Z|[+-]\\d{2}:\\d{2})$' },
};
const SCHEMA = closed(['apiVersion', 'kind', 'metadata', 'spec'], {
  apiVersion: { const: 'sallyport.dev/v1alpha1' },
  kind: { const: 'SallyportTest' },
  metadata: closed(['name'], { name: TEXT }),
  spec: closed(['cases'], {
    files: texts(64),
    defaults: closed([], CASE),
    cases: {
      type: 'array',
      minItems: 1,
      maxItems: 10_000,
      items: closed(['name', 'command', 'expect'], {
        name: TEXT,
        command: { type: 'string', maxLength: 1_048_576 },
        ...CASE,
        expect: {
          anyOf: [
            VERDICT,
            closed(['verdict'], {
              verdict: VERDICT,
              rule: TEXT,
              denied: TEXT,
              message: TEXT,
              observed: { enum: ['Deny', 'RequireApproval'] },
            }),
          ],
        },
      }),
    },
  }),
});

interface Written {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly files?: readonly string[];
    readonly defaults?: Partial<TestCase>;
    readonly cases: readonly (Partial<TestCase> & Pick<TestCase, 'name' | 'command' | 'expect'>)[];
  };
}

const validate = new Ajv({ strict: false, verbose: true }).compile<Written>(SCHEMA);

const isTestFile = (name: string): boolean => /\.test\.ya?ml$/.test(name) && !name.startsWith('.');

async function testFiles(path: string): Promise<string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const entries = await readdir(path, { withFileTypes: true });
  const nested = await Promise.all(
    entries
      .filter(({ name }) => !name.startsWith('.') && name !== 'node_modules')
      .map((entry) => {
        const inside = join(path, entry.name);
        return entry.isDirectory() ? testFiles(inside) : isTestFile(entry.name) ? [inside] : [];
      }),
  );
  return nested.flat().sort();
}

/**
 * The suites of every `*.test.yaml` under the path. `spec.files` are relative to the test file; without them the whole folder of the
 * test file is loaded. @throws CliError SPC031 for a file that is not a SallyportTest, SPC032 when there is none
 */
export async function readTests(path: string): Promise<readonly TestSuite[]> {
  let files: readonly string[];
  try {
    files = await testFiles(path);
  } catch (error) {
    throw new CliError('SPC031', [path, error instanceof Error ? error.message : String(error)], error);
  }
  const suites: TestSuite[] = [];
  for (const file of files) suites.push(...readSuites(file, await readFile(file, 'utf8')));
  if (suites.length === 0) throw new CliError('SPC032', [path]);
  return suites;
}

function readSuites(file: string, text: string): TestSuite[] {
  const lines = new LineCounter();
  const suites: TestSuite[] = [];
  for (const document of parseAllDocuments(text, { lineCounter: lines, uniqueKeys: true })) {
    if (!('contents' in document)) continue;
    const lineOf = (path: readonly (string | number)[]): number => {
      const node = document.getIn(path, true);
      return isNode(node) && node.range ? lines.linePos(node.range[0]).line : 1;
    };
    const [syntax] = document.errors;
    if (syntax !== undefined) {
      throw new CliError(
        'SPC031',
        [`${file}:${lines.linePos(syntax.pos[0]).line}`, syntax.message.split('\n')[0] ?? ''],
        syntax,
      );
    }
    const written: unknown = document.toJS({ maxAliasCount: 100 });
    if (written === null || written === undefined) continue;
    const wrong = (at: readonly (string | number)[], message: string): never => {
      throw new CliError('SPC031', [`${file}:${lineOf(at)}`, message]);
    };
    if (!validate(written)) {
      const error = validate.errors?.[0];
      const at = (error?.instancePath ?? '')
        .split('/')
        .slice(1)
        .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
      const extra: unknown = error?.params['additionalProperty'];
      const detail = typeof extra === 'string' ? `unknown field ${extra}` : (error?.message ?? 'not valid');
      return wrong(at, `${at.join('.') || 'the document'}: ${detail}`);
    }
    const { metadata, spec } = written;
    const folder = dirname(file);
    suites.push({
      file,
      name: metadata.name,
      paths: spec.files === undefined ? [folder] : spec.files.map((one) => resolve(folder, one)),
      cases: spec.cases.map((one, index): TestCase => {
        const {
          as = wrong(['spec', 'cases', index], `${one.name}: as is missing`),
          connection,
          ...rest
        } = {
          ...spec.defaults,
          ...one,
        };
        if (connection === undefined) return wrong(['spec', 'cases', index], `${one.name}: connection is missing`);
        return { ...rest, as, connection, line: lineOf(['spec', 'cases', index]) };
      }),
    });
  }
  return suites;
}
