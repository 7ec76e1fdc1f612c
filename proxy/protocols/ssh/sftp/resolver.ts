import { mayBeFolder, nameOf, statusOf } from './answers.ts';
import * as n from './constants.ts';
import { fileErrorText } from './errors.ts';
import type { Exchange } from './exchange.ts';
import { isNormal, unusable } from './paths.ts';
import type { Resolver } from './plan.ts';
import type { FileJudge } from './port.ts';

/** Asks the target, between a client's requests, what paths mean to it. */
export function createResolver(judge: FileJudge, exchange: Exchange): Resolver {
  let home: Promise<string> | undefined;
  const resolver: Resolver = {
    async real(path) {
      const answer = await exchange.ask(n.REALPATH, n.NAME, path);
      if (answer[4] === n.STATUS) return { failed: statusOf(answer) };
      const real = nameOf(answer);
      const reason = unusable(real);
      if (real !== undefined && reason === undefined && isNormal(real)) return { path: real };
      const message = fileErrorText('SPS072', reason ?? 'the target did not resolve it');
      return { failed: { code: n.FX_FAILURE, message } };
    },
    home() {
      home ??= resolver.real('.').then((found) => ('path' in found ? found.path : '/'));
      return home;
    },
    async isFolder(path) {
      const answer = await exchange.ask(n.LSTAT, n.ATTRS, path);
      return answer[4] === n.ATTRS && mayBeFolder(answer);
    },
    readable: (path) => judge.permits({ access: 'ReadFile', path }) !== 'Deny',
    protects: (path, tree) => judge.protects(tree ? { path, tree } : { path }),
  };
  return resolver;
}
