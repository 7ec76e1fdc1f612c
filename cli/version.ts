import { readFileSync } from 'node:fs';

/** Version of this package. */
export function packageVersion(): string {
  // dist/cli/version.js lies one folder deeper than cli/version.ts.
  for (const path of ['../package.json', '../../package.json']) {
    let text: string;
    try {
      text = readFileSync(new URL(path, import.meta.url), 'utf8');
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') continue;
      throw error;
    }
    const { name, version } = JSON.parse(text) as { readonly name?: unknown; readonly version?: unknown };
    if (name === 'sallyport' && typeof version === 'string') return version;
  }
  throw new Error('the package.json of sallyport is not there: install it again');
}
