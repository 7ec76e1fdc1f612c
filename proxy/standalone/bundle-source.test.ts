import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkRules } from '../../api/rules.ts';
import { createFolderBundleSource, type FolderBundleSource, type FolderOptions } from './bundle-source.ts';

type Reload = Parameters<FolderOptions['onReload']>[0];

let folder: string;
let source: FolderBundleSource | undefined;
let told: Reload[];
let next: (reload: Reload) => void;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-bundle-'));
  source = undefined;
  told = [];
  next = () => {};
});
afterEach(async () => {
  source?.close();
  await rm(folder, { recursive: true, force: true });
});

const connection = (name: string, port = 5432): string => `apiVersion: sallyport.dev/v1alpha1
kind: AccessConnection
metadata: {name: ${name}}
spec:
  protocol: Postgres
  target: {host: orders-db, port: ${port}, database: orders}
  credential: {secretRef: {name: db}}
`;
const put = (name: string, text: string): Promise<void> => writeFile(join(folder, name), text);
const names = (): string[] => source?.current().connections.map(({ name }) => name) ?? [];

/** The next report, begun before the change that causes it. */
const reported = (): Promise<Reload> => new Promise((resolve) => (next = resolve));

async function open(paths = [folder], pollMs = 60_000): Promise<FolderBundleSource> {
  source = await createFolderBundleSource({
    paths,
    guardrailNamespace: 'sallyport-system',
    checkObject: checkRules,
    pollMs,
    onReload: (reload) => {
      told.push(reload);
      next(reload);
    },
  });
  return source;
}

describe('bundle of a folder', () => {
  test('an edit is noticed and swapped in whole', async () => {
    await put('a.yaml', connection('one'));
    const { onChange } = await open();
    const seen: string[] = [];
    onChange(({ connections }) => void seen.push(connections.map(({ name }) => name).join()));
    const report = reported();
    await put('b.yaml', connection('two', 5433));
    expect((await report).changed).toBe(true);
    expect(names().sort()).toEqual(['one', 'two']);
    expect(seen.at(-1)?.split(',').sort()).toEqual(['one', 'two']);
  });

  test('a broken edit keeps the last good bundle, is told once with its place, and its end is told too', async () => {
    await put('a.yaml', connection('one'));
    const { reload } = await open();
    const before = source?.current();
    const report = reported();
    await put('a.yaml', connection('two').replace('protocol', 'protocoll'));
    const { changed, findings, bundle } = await report;
    expect(changed).toBe(false);
    expect(bundle).toBe(before);
    expect(findings).toContainEqual(
      expect.objectContaining({ file: join(folder, 'a.yaml'), line: 5, column: 3, code: 'SPA003' }),
    );
    await reload();
    await reload();
    expect(told).toHaveLength(1);
    const healed = reported();
    await put('a.yaml', connection('one'));
    expect((await healed).changed).toBe(true);
    expect(source?.current()).toBe(before);
  });

  test('a comment changes nothing; a Secret beside the resources is there for the next look', async () => {
    await put('a.yaml', connection('one'));
    const opened = await open();
    const before = opened.current();
    await put('a.yaml', `# note\n${connection('one')}`);
    await put('s.yaml', 'apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {password: x}\n');
    await opened.reload();
    expect(told).toEqual([]);
    expect(opened.current()).toBe(before);
    expect(opened.loaded.keyValues.map(({ name }) => name)).toEqual(['db']);
  });

  test('a single file is followed when another is put in its place', async () => {
    await put('a.yaml', connection('one'));
    await open([join(folder, 'a.yaml')]);
    const report = reported();
    await put('new', connection('two'));
    await rename(join(folder, 'new'), join(folder, 'a.yaml'));
    expect((await report).changed).toBe(true);
    expect(names()).toEqual(['two']);
  });

  test('a mounted ConfigMap: its files are swapped by one link', async () => {
    for (const version of ['1', '2']) {
      await mkdir(join(folder, `..${version}`));
      await put(`..${version}/a.yaml`, connection(`v${version}`));
    }
    await symlink('..1', join(folder, '..data'));
    await symlink('..data/a.yaml', join(folder, 'a.yaml'));
    await open();
    expect(names()).toEqual(['v1']);
    const report = reported();
    await symlink('..2', join(folder, '..data_tmp'));
    await rename(join(folder, '..data_tmp'), join(folder, '..data'));
    expect((await report).changed).toBe(true);
    expect(names()).toEqual(['v2']);
  });

  test('a folder that is not there yet is an error at first and served once it is', async () => {
    const later = join(folder, 'later');
    const { findings } = await open([later], 20);
    expect(findings.map(({ code }) => code)).toEqual(['SPA001']);
    const report = reported();
    await mkdir(later);
    await put('later/a.yaml', connection('one'));
    while (names().length === 0) await (names().length === 0 ? Promise.race([report, reported()]) : report);
    expect(names()).toEqual(['one']);
  });

  test('looks that are asked for while one is running see what was written before they were asked', async () => {
    await put('a.yaml', connection('one'));
    const { reload } = await open();
    const running = reload();
    await put('a.yaml', connection('two'));
    await Promise.all([reload(), reload(), running]);
    expect(names()).toEqual(['two']);
  });
});
