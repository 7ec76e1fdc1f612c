import type { ErrorObject } from 'ajv';
import { closest } from './spelling.ts';

/** What is wrong with the structure, where, and what to write instead. */
export interface StructureProblem {
  readonly path: readonly (string | number)[];
  readonly message: string;
  readonly fix?: string;
}

interface ParentSchema {
  readonly properties?: Readonly<Record<string, unknown>>;
  readonly type?: string;
  readonly description?: string;
}

/** Where fields are often looked for, and where they are. */
const MOVED: Readonly<Record<string, string>> = {
  host: 'Write it under spec.target.',
  port: 'Write it under spec.target.',
  database: 'Write it under spec.target.',
  tls: 'Write it under spec.target.',
  username: 'Put it into a Secret and name that in spec.credential.secretRef.',
  password: 'Put it into a Secret and name that in spec.credential.secretRef; it never stands in an AccessConnection.',
  statements: 'Write it under sql of a rule.',
  relations: 'Write it under sql of a rule.',
  verbs: 'Write it under kubernetes of a rule.',
  priority: 'There is no priority: Deny wins over RequireApproval and both over Allow, whatever the order.',
  order: 'There is no order: Deny wins over RequireApproval and both over Allow.',
};

/** `spec.rules[0].sql`; keys that are no plain words are quoted. */
export function pathText(path: readonly (string | number)[]): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else if (/^[A-Za-z_][-\w]*$/.test(part)) text += text === '' ? part : `.${part}`;
    else text += `[${JSON.stringify(part)}]`;
  }
  return text === '' ? 'the object' : text;
}

function pathOf(error: ErrorObject): (string | number)[] {
  return error.instancePath
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}

/** A value as it is shown: short, and never a whole object, which may hold what is not to be shown. */
function shown(value: unknown): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'an object';
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}…"` : text;
}

const ARTICLES: Readonly<Record<string, string>> = {
  object: 'an object (key: value)',
  array: 'a list',
  string: 'a text',
  integer: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
};

function typeFix(wanted: string, value: unknown): string | undefined {
  if (wanted === 'array' && value !== null && typeof value !== 'object') return `Write [${shown(value)}].`;
  if (wanted === 'string' && (typeof value === 'number' || typeof value === 'boolean')) {
    return `Write it in quotes: "${String(value)}".`;
  }
  if (wanted === 'integer' && typeof value === 'string' && /^\d+$/.test(value))
    return `Write ${value}, without quotes.`;
  if (wanted === 'boolean' && typeof value === 'string') return 'Write true or false, without quotes.';
  return undefined;
}

/** Errors that tell of other fields, so that each of several counts. */
const OF_OTHER_FIELDS = new Set(['required', 'additionalProperties']);

/** One problem for each field that is wrong, since a value that is no text at all is also none of the allowed ones. */
export function structureProblems(errors: readonly ErrorObject[]): StructureProblem[] {
  const told = new Set<string>();
  return errors.flatMap((error) => {
    // The name of a key has an error of its own.
    if (error.keyword === 'propertyNames') return [];
    if (!OF_OTHER_FIELDS.has(error.keyword)) {
      if (told.has(error.instancePath)) return [];
      told.add(error.instancePath);
    }
    return [structureProblem(error)];
  });
}

/** One sentence and one piece of advice for one error of the schema check. */
function structureProblem(error: ErrorObject): StructureProblem {
  const path = pathOf(error);
  const params = error.params as Readonly<Record<string, unknown>>;
  const parent = (error.parentSchema ?? {}) as ParentSchema;
  const here = pathText(path);
  const problem = (message: string, fix?: string, at = path): StructureProblem => ({
    path: at,
    message,
    ...(fix === undefined ? {} : { fix }),
  });
  switch (error.keyword) {
    case 'additionalProperties': {
      const wrong = String(params['additionalProperty']);
      const known = Object.keys(parent.properties ?? {});
      const meant = closest(wrong, known);
      const list = known.length === 0 ? 'It takes no fields: write {}.' : `Known here: ${known.join(', ')}.`;
      const fix = meant === undefined ? (Object.hasOwn(MOVED, wrong) ? MOVED[wrong] : list) : `Write ${meant}.`;
      return problem(`${here} has no field ${JSON.stringify(wrong)}`, fix, [...path, wrong]);
    }
    case 'enum': {
      const allowed = (params['allowedValues'] as readonly unknown[]).map(String);
      const meant = typeof error.data === 'string' ? closest(error.data, allowed) : undefined;
      const fix = meant === undefined ? `Write ${oneOf(allowed)}.` : `Write ${meant}.`;
      return problem(`${here} cannot be ${shown(error.data)}`, fix);
    }
    case 'const': {
      const wanted = String(params['allowedValue']);
      return problem(`${here} cannot be ${shown(error.data)}`, `Write ${wanted}.`);
    }
    case 'required': {
      const missing = String(params['missingProperty']);
      const child = parent.properties?.[missing] as ParentSchema | undefined;
      const about = child?.description?.split(/(?<=[.:]) /)[0]?.replace(/:$/, '.');
      return problem(`${here} needs ${missing}`, `Add ${missing}${about === undefined ? '.' : `: ${about}`}`);
    }
    case 'type': {
      const wanted = String(params['type']);
      return problem(
        `${here} is ${shown(error.data)} and must be ${ARTICLES[wanted] ?? wanted}`,
        typeFix(wanted, error.data),
      );
    }
    case 'uniqueItems':
      return problem(
        `${here} holds the same value twice, at ${Number(params['j'])} and ${Number(params['i'])}`,
        'Remove one of them.',
        [...path, Number(params['i'])],
      );
    case 'pattern':
      return error.propertyName === undefined
        ? problem(`${here} cannot be ${shown(error.data)}`, patternFix(parent, String(params['pattern'])))
        : problem(
            `${here} cannot have the key ${shown(error.propertyName)}`,
            patternFix(parent, String(params['pattern'])),
          );
    case 'format':
      return problem(`${here} cannot be ${shown(error.data)}: it is no ${String(params['format'])}`);
    case 'minLength':
      return Number(params['limit']) === 1
        ? problem(`${here} is empty`, 'Write something, or leave the field out.')
        : problem(`${here} is too short`, `Write at least ${Number(params['limit'])} characters.`);
    case 'uniqueKeys':
      return problem(`${here} holds two items with the same key`, 'Remove one of them.');
    case 'maxLength':
      return problem(`${here} is too long`, `At most ${Number(params['limit'])} characters are taken.`);
    case 'minItems':
      return problem(`${here} is an empty list`, 'Remove it, or write at least one item.');
    case 'maxItems':
      return problem(`${here} has too many items`, `At most ${Number(params['limit'])} are taken.`);
    case 'minProperties':
      return problem(`${here} is empty`, 'Remove it, or write at least one field.');
    case 'maxProperties':
      return problem(`${here} has too many fields`, `At most ${Number(params['limit'])} are taken.`);
    case 'minimum':
      return problem(`${here} is ${shown(error.data)} and must be at least ${Number(params['limit'])}`);
    case 'maximum':
      return problem(`${here} is ${shown(error.data)} and must be at most ${Number(params['limit'])}`);
    default:
      return problem(`${here} ${error.message ?? `fails ${error.keyword}`}`);
  }
}

function oneOf(values: readonly string[]): string {
  const words = values.map((value) => (value === '*' ? '"*"' : value));
  return words.length === 1 ? words[0]! : `${words.slice(0, -1).join(', ')} or ${words.at(-1) ?? ''}`;
}

/** Patterns of the API in words. */
const PATTERNS: Readonly<Record<string, string>> = {
  '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$':
    'Write lower-case letters, digits and -, starting and ending with a letter or digit.',
  '^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$':
    'Write lower-case letters, digits, - and ., starting and ending with a letter or digit.',
  '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$':
    'Write lower-case letters, digits, - and ., such as agent-reads-orders.',
  '^[-._a-zA-Z0-9]+$': 'Write letters, digits, -, _ and .',
  '^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$':
    'Write letters, digits, -, _ and ., starting and ending with a letter or digit.',
  '^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$':
    'Write a key such as app or example.com/app.',
  '^([*]|[a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$':
    'Write a lower-case API group such as apps, "" for the core group, or "*".',
};

function patternFix(schema: ParentSchema, pattern: string): string {
  return PATTERNS[pattern] ?? schema.description ?? `It has to match ${pattern}`;
}
