/** A Secret or ConfigMap found beside the resources. Values are bytes. */
export interface KeyValues {
  readonly kind: 'Secret' | 'ConfigMap';
  readonly namespace: string;
  readonly name: string;
  readonly values: ReadonlyMap<string, Buffer>;
}

/** What is wrong in one of them. Values are never shown. */
export interface KeyValueProblem {
  readonly path: readonly string[];
  readonly message: string;
  readonly fix: string;
}

export interface KeyValueManifest {
  readonly data?: unknown;
  readonly stringData?: unknown;
  readonly binaryData?: unknown;
}

const KEY = /^[-._a-zA-Z0-9]{1,253}$/;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Reads data, stringData (Secret) and binaryData (ConfigMap) as the API server does; stringData wins over data. */
export function readKeyValues(
  manifest: KeyValueManifest,
  kind: KeyValues['kind'],
  namespace: string,
  name: string,
): { readonly object: KeyValues; readonly problems: readonly KeyValueProblem[] } {
  const values = new Map<string, Buffer>();
  const problems: KeyValueProblem[] = [];

  function take(field: keyof KeyValueManifest, encoding: 'base64' | 'utf8'): void {
    const source = manifest[field];
    if (source === undefined || source === null) return;
    if (typeof source !== 'object' || Array.isArray(source)) {
      problems.push({ path: [field], message: `${field} must be an object`, fix: 'Write key: value.' });
      return;
    }
    for (const [key, value] of Object.entries(source)) {
      const path = [field, key];
      if (!KEY.test(key)) {
        problems.push({
          path,
          message: `${field} has a key that cannot be used`,
          fix: 'Write letters, digits, -, _ and .',
        });
      } else if (typeof value !== 'string') {
        problems.push({ path, message: `${field}.${key} is not a text`, fix: 'Write the value in quotes.' });
      } else if (encoding === 'utf8') values.set(key, Buffer.from(value, 'utf8'));
      else {
        const compact = value.replace(/\s/g, '');
        if (BASE64.test(compact)) values.set(key, Buffer.from(compact, 'base64'));
        else {
          const fix =
            kind === 'Secret'
              ? 'Encode it, or write it under stringData as it is.'
              : 'Encode it, or write it under data.';
          problems.push({ path, message: `${field}.${key} is not base64`, fix });
        }
      }
    }
  }

  take('data', kind === 'Secret' ? 'base64' : 'utf8');
  if (kind === 'ConfigMap') take('binaryData', 'base64');
  else take('stringData', 'utf8');
  return { object: { kind, namespace, name, values }, problems };
}
