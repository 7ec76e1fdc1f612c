/** Markdown pages of docs/reference, made from the schemas, so that they say what is checked. */

export interface FieldSchema {
  readonly type?: string;
  readonly format?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
  readonly pattern?: string;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, FieldSchema>>;
  readonly additionalProperties?: false | FieldSchema;
  readonly items?: FieldSchema;
  readonly 'x-kubernetes-list-type'?: string;
  readonly 'x-kubernetes-validations'?: readonly { readonly rule: string; readonly message: string }[];
}

interface Row {
  readonly path: string;
  readonly schema: FieldSchema;
  readonly required: boolean;
}

const MAX_CHOICES = 80;

/** Every field below, in the order of the schema; what only wraps others (lists, maps) is one row with its content. */
function rowsOf(schema: FieldSchema, path: string): Row[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, child]) => {
    const here = path === '' ? name : `${path}.${name}`;
    const inner = child.items ?? (child.additionalProperties || undefined) ?? child;
    const suffix = child.items === undefined ? '' : '[]';
    return [
      { path: `${here}${suffix}`, schema: child, required: schema.required?.includes(name) === true },
      ...rowsOf(inner, `${here}${suffix}`),
    ];
  });
}

function typeText(schema: FieldSchema): string {
  switch (schema.type) {
    case 'array':
      return `list of ${schema.items === undefined ? 'anything' : typeText(schema.items)}`;
    case 'object':
      return schema.additionalProperties ? `map to ${typeText(schema.additionalProperties)}` : 'object';
    case 'string':
      return schema.format === 'date-time' ? 'time' : 'text';
    default:
      return schema.type ?? 'anything';
  }
}

function boundsText(schema: FieldSchema): string[] {
  const own = schema.items ?? (schema.additionalProperties || undefined) ?? schema;
  const range = (from: number | undefined, to: number | undefined, unit: string): string[] => {
    if (to === undefined) return from === undefined || from === 0 ? [] : [`at least ${from}${unit}`];
    return from === undefined || from === 0 ? [`at most ${to}${unit}`] : [`${from} to ${to}${unit}`];
  };
  const choices = own.enum ?? (own.const === undefined ? undefined : [own.const]);
  return [
    ...(choices === undefined
      ? []
      : [
          `one of ${choices
            .slice(0, MAX_CHOICES)
            .map((value) => `\`${String(value)}\``)
            .join(', ')}`,
        ]),
    ...range(own.minimum, own.maximum, ''),
    ...range(schema.minItems, schema.maxItems, ' items'),
    ...(choices === undefined ? range(own.minLength, own.maxLength, ' characters') : []),
    ...(schema['x-kubernetes-list-type'] === 'set' ? ['no item twice'] : []),
    ...(schema.default === undefined ? [] : [`default \`${JSON.stringify(schema.default)}\``]),
  ];
}

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

function table(rows: readonly Row[]): string {
  const lines = rows.map(({ path, schema, required }) => {
    const own = schema.items ?? (schema.additionalProperties || undefined) ?? schema;
    const rules = [schema, own].filter((each, index, all) => all.indexOf(each) === index);
    const sentences = [
      schema.description ?? own.description ?? '',
      ...rules.flatMap((each) => (each['x-kubernetes-validations'] ?? []).map(({ message }) => `*${message}.*`)),
    ];
    const bounds = boundsText(schema);
    const about = sentences.filter((sentence) => sentence !== '').join(' ');
    return `| \`${path}\`${required ? ' **required**' : ''} | ${cell(typeText(schema))} | ${cell(about)} | ${cell(bounds.join('; '))} |`;
  });
  return ['| field | type | what it says | bounds |', '|---|---|---|---|', ...lines].join('\n');
}

const BANNER = (source: string): string =>
  `<!-- Generated from ${source} by scripts/generate-types.ts. Do not edit. -->`;

/** Page of one kind. Status comes after spec, since people write the one and read the other. */
export function kindPage(file: string, kind: string, schema: FieldSchema): string {
  const { spec, status } = schema.properties ?? {};
  const rules = [schema, spec].flatMap((each) => each?.['x-kubernetes-validations'] ?? []);
  return [
    BANNER(file),
    `# ${kind}`,
    schema.description ?? '',
    `\`apiVersion: sallyport.dev/v1alpha1\`, \`kind: ${kind}\``,
    '## spec',
    spec?.description ?? '',
    ...(rules.length === 0
      ? []
      : ['Rules over several fields:', rules.map(({ message }) => `* ${message}`).join('\n')]),
    table(rowsOf(spec ?? {}, 'spec')),
    ...(status === undefined ? [] : ['## status', status.description ?? '', table(rowsOf(status, 'status'))]),
    '',
  ]
    .join('\n\n')
    .trimEnd()
    .concat('\n');
}

/** Page of the configuration file. */
export function configurationPage(file: string, schema: FieldSchema): string {
  const head = [
    BANNER(file),
    '# SallyportConfiguration',
    schema.description ?? '',
    'How to use it: [configuration](../configuration.md).',
  ];
  return `${[...head, table(rowsOf(schema, ''))].join('\n\n')}\n`;
}
