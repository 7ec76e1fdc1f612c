import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { loadResources } from '../../api/load.ts';
import { checkRules } from '../../api/rules.ts';

/** One change of a base object. Paths are dotted; numbers are places in lists. */
export interface ManifestChange {
  readonly set?: Readonly<Record<string, unknown>>;
  readonly remove?: string;
}

/** A copy of the object with the change. */
export function applied(base: unknown, { set = {}, remove }: ManifestChange): unknown {
  const object: unknown = structuredClone(base);
  const change = (path: string, last: (holder: Record<string, unknown>, key: string) => void): void => {
    const keys = path.split('.');
    const key = keys.pop() ?? '';
    let holder = object;
    for (const each of keys) {
      if (typeof holder !== 'object' || holder === null) throw new Error(`there is no ${path} in the base`);
      holder = (holder as Record<string, unknown>)[each];
    }
    last(holder as Record<string, unknown>, key);
  };
  for (const [path, value] of Object.entries(set)) {
    change(path, (holder, key) => {
      holder[key] = value;
    });
  }
  if (remove !== undefined) change(remove, (holder, key) => void delete holder[key]);
  return object;
}

/** What is said about one object, as `CODE message | what to write`. */
export async function manifestFindings(object: unknown): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-manifest-'));
  try {
    await writeFile(join(folder, 'object.yaml'), stringify(object));
    const { findings } = await loadResources([folder], checkRules);
    return findings.map(({ code, message, fix }) => `${code} ${message}${fix === undefined ? '' : ` | ${fix}`}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
