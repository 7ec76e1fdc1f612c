import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readConfiguration } from '../../api/configuration.ts';
import { type Finding, loadResources } from '../../api/load.ts';
import { checkRules } from '../../api/rules.ts';
import { compile } from '../../policy/compile.ts';
import { findingsOf } from '../../proxy/standalone/bundle-source.ts';

const EXAMPLES = join(import.meta.dirname, '../../examples');
/** What one file alone cannot know: that its connection is in another. */
const NEEDS_OTHERS = new Set(['SPP001', 'SPP002']);

async function found(...paths: string[]): Promise<Finding[]> {
  const loaded = await loadResources(paths, checkRules);
  const { problems } = compile(loaded.resources, { guardrailNamespace: 'sallyport-system' });
  return [...loaded.findings, ...findingsOf(loaded, problems)];
}

describe('examples', () => {
  const files = readdirSync(EXAMPLES).filter((name) => name.endsWith('.yaml'));

  test('there is one for each question', () => {
    expect(files.length).toBeGreaterThanOrEqual(16);
  });

  test.each(files)('%s is in order and says at its start what it is for', async (name) => {
    const path = join(EXAMPLES, name);
    expect((await found(path)).filter(({ code }) => !NEEDS_OTHERS.has(code))).toEqual([]);
    expect(readFileSync(path, 'utf8')).toMatch(/^# \S/);
  });

  test('standalone/ is whole: nothing is missing and nothing is reported', async () => {
    const folder = join(EXAMPLES, 'standalone');
    expect(await found(folder)).toEqual([]);
    const { configuration, findings } = await readConfiguration(join(folder, 'sallyport.yaml'));
    expect(findings).toEqual([]);
    const { resources } = await loadResources([folder], checkRules);
    const names = resources.connections.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
    expect([...(configuration?.listen.keys() ?? [])]).toEqual(names);
  });

  test('the quick start stays short', () => {
    const lines = readFileSync(join(EXAMPLES, 'quickstart.yaml'), 'utf8').trimEnd().split('\n');
    expect(lines.length).toBeLessThanOrEqual(36);
  });
});
