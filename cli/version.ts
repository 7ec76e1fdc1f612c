import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

interface Package {
  readonly folder: string;
  readonly version: string;
}

function ownPackage(): Package {
  // dist/cli/version.js lies one folder deeper than cli/version.ts.
  for (const path of ['..', '../..']) {
    const folder = new URL(`${path}/`, import.meta.url);
    let text: string;
    try {
      text = readFileSync(new URL('package.json', folder), 'utf8');
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') continue;
      throw error;
    }
    const { name, version } = JSON.parse(text) as { readonly name?: unknown; readonly version?: unknown };
    if (name === 'sallyport' && typeof version === 'string') return { folder: fileURLToPath(folder), version };
  }
  throw new Error('the package.json of sallyport is not there: install it again');
}

/** Version of this package. */
export const packageVersion = (): string => ownPackage().version;

/** Where this package lies: what it ships beside its code, such as `crds/`, is there. */
export const packageFolder = (): string => ownPackage().folder;
