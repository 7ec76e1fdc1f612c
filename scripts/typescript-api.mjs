/**
 * dependency-cruiser reads sources through TypeScript's JavaScript API, which TypeScript 7 no longer has: `typescript` means
 * version 6 for it, and only for it. Use: `node --import ./scripts/typescript-api.mjs node_modules/dependency-cruiser/bin/…`.
 */
import { registerHooks } from 'node:module';

registerHooks({
  resolve(specifier, context, nextResolve) {
    if (specifier !== 'typescript' && !specifier.startsWith('typescript/')) return nextResolve(specifier, context);
    return nextResolve(specifier.replace('typescript', '@typescript/typescript6'), context);
  },
});
