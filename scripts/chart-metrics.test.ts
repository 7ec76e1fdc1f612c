/** Dashboard and alerts name metrics that exist: one that was renamed is an empty panel, and an alert that never fires. */
import { globSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parse } from 'yaml';

const FOLDER = 'charts/sallyport/dashboards';

/** Made by prom-client itself (collectDefaultMetrics). */
const DEFAULTS = ['process_resident_memory_bytes', 'process_cpu_seconds_total', 'nodejs_heap_size_used_bytes'];

/** What the sources register: a name as a string, in files that make metrics. */
function registered(): ReadonlySet<string> {
  const files = globSync(['{kube,operator,proxy,archive,delivery}/**/*.ts']).filter(
    (file) => !file.endsWith('.test.ts'),
  );
  const names = files
    .map((file) => readFileSync(file, 'utf8'))
    .filter((source) => source.includes("'prom-client'"))
    .flatMap((source) => [...source.matchAll(/'([a-z][a-z0-9]*(?:_[a-z0-9]+)+)'/g)].map(([, name]) => name ?? ''));
  return new Set([...names, ...DEFAULTS]);
}

/** Names of metrics in an expression of PromQL: words with an underscore that are no function and no label. */
function metricsIn(expression: string): string[] {
  const bare = expression
    .replaceAll(/"[^"]*"/g, '')
    .replaceAll(/\{[^}]*\}/g, '')
    .replaceAll(/\b(?:by|without|on|ignoring)\s*\([^)]*\)/g, '');
  return [...bare.matchAll(/[a-z][a-z0-9]*(?:_[a-z0-9]+)+(?!\w*\s*\()/g)]
    .map(([name]) => name)
    .filter((name) => name !== 'histogram_quantile')
    .map((name) => name.replace(/_(bucket|sum|count)$/, ''));
}

interface Dashboard {
  readonly panels: readonly { readonly title: string; readonly targets: readonly { readonly expr: string }[] }[];
}

const dashboard = JSON.parse(readFileSync(`${FOLDER}/sallyport.json`, 'utf8')) as Dashboard;
const alerts = parse(readFileSync(`${FOLDER}/alerts.yaml`, 'utf8')) as {
  groups: { rules: { alert: string; expr: string; annotations: Record<string, string> }[] }[];
};
const known = registered();

for (const { title, targets } of dashboard.panels)
  test(`panel ${title}`, () => {
    const named = targets.flatMap(({ expr }) => metricsIn(expr));
    expect(named).not.toEqual([]);
    for (const name of named) expect(known).toContain(name);
  });

for (const { alert, expr, annotations } of alerts.groups.flatMap(({ rules }) => rules))
  test(`alert ${alert}`, () => {
    const named = metricsIn(expr);
    expect(named).not.toEqual([]);
    for (const name of named) expect(known).toContain(name);
    expect(annotations).toHaveProperty('summary');
    expect(annotations).toHaveProperty('description');
  });
