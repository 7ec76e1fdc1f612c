import type { CompiledConnection, PolicyScope } from '../../../policy/bundle.ts';
import { createBodyMasks } from '../../masking/body/body-masks.ts';
import type { BodyMasks } from '../../masking/body/port.ts';
import type { CredentialSource } from '../../ports.ts';
import { bringTokenKeys } from '../../session/token-keys.ts';

/** What is masked for one subject on one connection under one bundle: made once, with the keys that it needs. @throws CredentialError */
export type MasksOf = (scope: PolicyScope, connection: CompiledConnection) => Promise<BodyMasks>;

export function createMasksOf(credentials: CredentialSource): MasksOf {
  const made = new WeakMap<PolicyScope, Promise<BodyMasks>>();
  return (scope, connection) => {
    const known = made.get(scope);
    if (known !== undefined) return known;
    const making = bringTokenKeys(scope.masks, connection, credentials).then((keys) =>
      createBodyMasks(scope.masks, keys),
    );
    made.set(scope, making);
    // A key that could not be read a moment ago may be there for the next request.
    making.catch(() => made.delete(scope));
    return making;
  };
}
