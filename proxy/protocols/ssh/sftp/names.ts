import { nameAnswer, nameOf, statusAnswer } from './answers.ts';
import * as n from './constants.ts';
import type { SessionContext } from './context.ts';
import { fileErrorText } from './errors.ts';
import { normalise, unusable } from './paths.ts';
import type { Resolver } from './plan.ts';

/** Requests that ask what a path is called. */
export interface PathNames {
  realpath(id: number, path: string | undefined): Promise<void>;
  expand(id: number, frame: Buffer, path: string | undefined): Promise<void>;
}

export function createPathNames(
  { judge, exchange, toClient, status, deny }: SessionContext,
  resolver: Resolver,
): PathNames {
  /** Whether the client may know of the path: what any access to it would tell anyway. */
  function known(path: string): boolean {
    return resolver.readable(path) || judge.permits({ access: 'WriteFile', path }) !== 'Deny';
  }

  /** Where a path leads is told only of what the client may know; of the rest it gets its own path back, made absolute. */
  async function realpath(id: number, path: string | undefined): Promise<void> {
    const reason = unusable(path);
    if (path === undefined || reason !== undefined)
      return deny(id, fileErrorText('SPS072', reason ?? 'it is not UTF-8'));
    const base = await resolver.home();
    const plain = normalise(base, path);
    const real = plain === base ? { path: base } : await resolver.real(path);
    if ('path' in real && (real.path === base || known(real.path))) return toClient(nameAnswer(id, real.path));
    if ('failed' in real && known(plain)) return status(id, real.failed.code, real.failed.message);
    return toClient(nameAnswer(id, plain));
  }

  /** `~user` and a user's home: told where it is the client's own, or a folder that it may know. */
  async function expand(id: number, frame: Buffer, path: string | undefined): Promise<void> {
    const reason = unusable(path);
    if (path === undefined || reason !== undefined)
      return deny(id, fileErrorText('SPS072', reason ?? 'it is not UTF-8'));
    const base = await resolver.home();
    return exchange.forward(frame, id, n.NAME, (answer, type) => {
      const expanded = type === n.NAME ? nameOf(answer) : undefined;
      if (expanded !== undefined && unusable(expanded) === undefined) {
        const plain = normalise(base, expanded);
        if (plain === base || known(plain)) return answer;
      }
      return statusAnswer(id, n.FX_PERMISSION_DENIED, fileErrorText('SPS072', 'it is not one that you may know of'));
    });
  }

  return { realpath, expand };
}
