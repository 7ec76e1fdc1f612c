import type { PolicyScope } from '../../../policy/bundle.ts';
import { type ContentDetectors, createContentDetectors } from '../../masking/detectors.ts';
import type { CredentialSource } from '../../ports.ts';
import { bringTokenKeys } from '../../session/token-keys.ts';
import type { HttpSession } from '../http/core/port.ts';
import { createObjectMasks } from './masking/objects.ts';
import type { ObjectMasks } from './masking/port.ts';

/** Everything that is masked for one subject under one bundle. */
export interface SubjectMasks {
  readonly objects: ObjectMasks;
  /** What is looked for in text that is not an object; undefined: nothing. */
  readonly content: ContentDetectors | undefined;
}

/** Masks are made once for each scope, which is shared by the sessions of a subject. */
export function createMasks(credentials: CredentialSource): (session: HttpSession) => Promise<SubjectMasks> {
  const known = new WeakMap<PolicyScope, Promise<SubjectMasks>>();

  async function make({ scope, connection }: HttpSession): Promise<SubjectMasks> {
    const tokenKey = await bringTokenKeys(scope.masks, connection, credentials);
    return {
      objects: createObjectMasks(scope.masks, tokenKey),
      content: createContentDetectors(scope.masks.content, tokenKey),
    };
  }

  return (session) => {
    const { scope } = session;
    let masks = known.get(scope);
    if (masks === undefined) {
      masks = make(session);
      known.set(scope, masks);
      // A key that could not be read may be there for the next request.
      masks.catch(() => known.delete(scope));
    }
    return masks;
  };
}
