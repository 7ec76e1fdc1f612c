import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { packageFolder } from '../../version.ts';
import { schemaPaths } from './crd-paths.ts';
import { FENCES } from './install.ts';

test('the doctor knows the fences of the chart', () => {
  const folder = path.join(packageFolder(), 'charts', 'sallyport', 'templates', 'fences');
  const names = readdirSync(folder).flatMap((file) => {
    const documents = readFileSync(path.join(folder, file), 'utf8').split(/^---$/m);
    return documents.flatMap((text) =>
      /^kind: ValidatingAdmissionPolicy$/m.test(text) ? [/^ {2}name: (\S+)$/m.exec(text)?.[1] ?? ''] : [],
    );
  });
  expect(names.sort()).toEqual([...FENCES].sort());
});

test('fields of a schema are found through lists and maps, without those that every object has', () => {
  const leaf = { type: 'string' };
  const openAPIV3Schema = {
    properties: {
      metadata: { properties: { name: leaf } },
      spec: {
        properties: {
          list: { items: { properties: { inner: leaf } } },
          map: { additionalProperties: { properties: { deep: leaf } } },
        },
      },
    },
  };
  const crd = { spec: { versions: [{ name: 'v1', schema: { openAPIV3Schema } }, { name: 'v2' }] } };
  expect([...schemaPaths(crd, 'v1')]).toEqual([
    'spec',
    'spec.list',
    'spec.list[].inner',
    'spec.map',
    'spec.map.*.deep',
  ]);
  expect(schemaPaths(crd, 'v2').size).toBe(0);
});
