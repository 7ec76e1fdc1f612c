import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { compile, type JSONSchema } from 'json-schema-to-typescript';
import { parse } from 'yaml';
import { CONFIGURATION_SCHEMA } from '../api/configuration-schema.ts';
import { configurationPage, type FieldSchema, kindPage } from './reference-pages.ts';

/**
 * Makes api/generated/NAME.ts and one page a kind under docs/reference from the CRDs in crds/, the source of the API. With --check nothing is
 * written: exits 1 when a file differs from what would be.
 */
interface CustomResourceDefinition {
  readonly spec: {
    readonly names: { readonly kind: string; readonly plural: string };
    readonly versions: readonly [{ readonly schema: { readonly openAPIV3Schema: JSONSchema } }];
  };
}

/** Objects without additionalProperties are closed, as the API server prunes what the schema does not name. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== 'object' || schema === null) return schema;
  const entries = Object.entries(schema).filter(([key]) => !key.startsWith('x-kubernetes-'));
  const copy: Record<string, unknown> = Object.fromEntries(entries.map(([key, value]) => [key, closed(value)]));
  if (copy['type'] === 'object' && copy['properties'] !== undefined && copy['additionalProperties'] === undefined)
    copy['additionalProperties'] = false;
  // Bounds would become tuples of every length.
  delete copy['maxItems'];
  delete copy['minItems'];
  return copy;
}

const METADATA: JSONSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['name', 'namespace'],
  properties: {
    name: { type: 'string' },
    namespace: { type: 'string' },
    uid: { type: 'string' },
    generation: { type: 'integer' },
    creationTimestamp: { type: 'string' },
    labels: { type: 'object', additionalProperties: { type: 'string' } },
    annotations: { type: 'object', additionalProperties: { type: 'string' } },
  },
};

async function readDefinition(file: string): Promise<CustomResourceDefinition> {
  return parse(await readFile(file, 'utf8')) as CustomResourceDefinition;
}

async function typesOf(file: string): Promise<string> {
  const crd = await readDefinition(file);
  const { kind } = crd.spec.names;
  const schema = closed(crd.spec.versions[0].schema.openAPIV3Schema) as JSONSchema & {
    properties: Record<string, JSONSchema>;
    required: string[];
  };
  schema.properties['metadata'] = METADATA;
  schema.properties['apiVersion'] = { const: 'sallyport.dev/v1alpha1' };
  schema.properties['kind'] = { const: kind };
  schema.required = ['apiVersion', 'kind', 'metadata', ...schema.required];
  const bannerComment = `// Generated from ${file} by scripts/generate-types.ts. Do not edit.`;
  return compile(schema, kind, {
    bannerComment,
    style: { singleQuote: true, printWidth: 120 },
    additionalProperties: true,
  });
}

/** Everything that is made, by path. */
async function generated(): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for (const name of (await readdir('crds')).sort()) {
    const source = `crds/${name}`;
    const { spec } = await readDefinition(source);
    files.set(`api/generated/${name.replace('.yaml', '.ts')}`, await typesOf(source));
    const page = kindPage(source, spec.names.kind, spec.versions[0].schema.openAPIV3Schema as FieldSchema);
    files.set(`docs/reference/${name.replace('.yaml', '.md')}`, page);
  }
  const source = 'api/configuration-schema.ts';
  files.set('docs/reference/configuration.md', configurationPage(source, CONFIGURATION_SCHEMA));
  return files;
}

async function main(check: boolean): Promise<number> {
  let different = 0;
  if (!check) await mkdir('docs/reference', { recursive: true });
  for (const [path, text] of await generated()) {
    if (!check) await writeFile(path, text);
    else if ((await readFile(path, 'utf8').catch(() => '')) !== text) {
      console.error(`${path} is not what its source says: run make generate`);
      different++;
    }
  }
  return different === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.includes('--check'));
