import type { CompiledConnection } from '../../policy/bundle.ts';
import type { MaskPlan, Transform } from '../../policy/masking.ts';
import type { TokenKeys } from '../masking/port.ts';
import type { CredentialSource } from '../ports.ts';

const keyName = (transform: Transform): string =>
  transform.type === 'tokenize' && transform.keyRef !== undefined
    ? `${transform.keyRef.namespace}/${transform.keyRef.name}/${transform.keyRef.key}`
    : '';

function transformsOf(masks: MaskPlan): readonly Transform[] {
  return [
    ...masks.transforms,
    ...masks.content.map(({ transform }) => transform),
    ...masks.fields.map(({ transform }) => transform),
    ...masks.kubernetes.map(({ transform }) => transform),
  ];
}

/** Brings the keys that the plan needs, so that nothing has to be waited for while data goes by. @throws CredentialError */
export async function bringTokenKeys(
  masks: MaskPlan,
  connection: CompiledConnection,
  credentials: CredentialSource,
): Promise<TokenKeys> {
  const keys = new Map<string, Uint8Array>();
  for (const transform of transformsOf(masks)) {
    if (transform.type !== 'tokenize' || keys.has(keyName(transform))) continue;
    keys.set(keyName(transform), await credentials.tokenKey(connection.namespace, transform.keyRef));
  }
  return (transform) => keys.get(keyName(transform));
}
