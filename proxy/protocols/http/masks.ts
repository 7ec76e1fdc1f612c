import type { CompiledConnection, PolicyScope } from '../../../policy/bundle.ts';
import { createBodyMasks } from '../../masking/body/body-masks.ts';
import type { BodyMasks, WriteCheck } from '../../masking/body/port.ts';
import { createWriteCheck } from '../../masking/body/write-check.ts';
import type { MaskError } from '../../masking/errors.ts';
import type { CredentialSource } from '../../ports.ts';
import { bringTokenKeys } from '../../session/token-keys.ts';
import { HttpRefused } from './core/errors.ts';
import { eachField, field } from './core/headers.ts';
import type { RequestHead } from './core/port.ts';

/** What is masked for one subject on one connection under one bundle. */
export interface ScopeMasks {
  readonly answers: BodyMasks;
  /** Looks for what came from masking in what is sent; undefined: nothing is masked. */
  readonly writes: WriteCheck | undefined;
}

/** Made once, with the keys that it needs: waited for by the first request alone. @throws CredentialError */
export type MasksOf = (scope: PolicyScope, connection: CompiledConnection) => ScopeMasks | Promise<ScopeMasks>;

export function createMasksOf(credentials: CredentialSource): MasksOf {
  const made = new WeakMap<PolicyScope, ScopeMasks | Promise<ScopeMasks>>();
  return (scope, connection) => {
    const known = made.get(scope);
    if (known !== undefined) return known;
    const making = bringTokenKeys(scope.masks, connection, credentials).then((keys): ScopeMasks => {
      const answers = createBodyMasks(scope.masks, keys);
      return { answers, writes: answers.empty ? undefined : createWriteCheck(scope.masks, keys) };
    });
    made.set(scope, making);
    making.then(
      (masks) => made.set(scope, masks),
      // A key that could not be read a moment ago may be there for the next request.
      () => made.delete(scope),
    );
    return making;
  };
}

/** What masking says, for the client. */
export const maskRefused = (error: MaskError, status: number): HttpRefused =>
  new HttpRefused({ status, code: error.code, message: error.message, hint: '' }, error);

/** Nothing that came from masking goes back to a target, where it would replace the real value. @throws HttpRefused SPM012 */
export function checkWrites(writes: WriteCheck, head: RequestHead, body: Buffer | undefined): void {
  const refuse = (error: MaskError | undefined): void => {
    if (error !== undefined) throw maskRefused(error, 422);
  };
  refuse(writes.text(head.path));
  for (const [name, value] of head.query) {
    refuse(writes.text(name));
    refuse(writes.text(value));
  }
  for (const [, value] of eachField(head.headers)) refuse(writes.text(value));
  if (body !== undefined) refuse(writes.whole(body, field(head.headers, 'content-type')));
}
