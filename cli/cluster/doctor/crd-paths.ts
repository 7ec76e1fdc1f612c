type Json = Readonly<Record<string, unknown>>;
const record = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {});

/**
 * Every field that a version of a CRD knows, as paths such as `spec.target.host`. Compared like this, defaults that the API server adds to a
 * CRD when it stores it do not matter.
 */
export function schemaPaths(crd: unknown, version: string): Set<string> {
  const versions = record(record(crd)['spec'])['versions'];
  const found = new Set<string>();
  const own = Array.isArray(versions) ? versions.map(record).find(({ name }) => name === version) : undefined;
  collect(record(own?.['schema'])['openAPIV3Schema'], '', found);
  return found;
}

function collect(schema: unknown, path: string, found: Set<string>): void {
  const { properties, items, additionalProperties } = record(schema);
  for (const [name, child] of Object.entries(record(properties))) {
    // Those that every object has are the API server's own.
    if (path === '' && ['apiVersion', 'kind', 'metadata'].includes(name)) continue;
    const place = path === '' ? name : `${path}.${name}`;
    found.add(place);
    collect(child, place, found);
  }
  if (items !== undefined) collect(items, `${path}[]`, found);
  if (additionalProperties !== undefined) collect(additionalProperties, `${path}.*`, found);
}
