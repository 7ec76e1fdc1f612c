/** Entries of `kubernetes.resources`, as in RBAC: `pods`, `pods/log`, `*` for everything, star/scale for a subresource of everything. */

export interface ResourcePattern {
  readonly text: string;
  readonly resource: string;
  /** Undefined: written without a slash. */
  readonly subresource: string | undefined;
}

/** Compiles an entry as the schema lets it pass. */
export function compileResource(text: string): ResourcePattern {
  const slash = text.indexOf('/');
  return slash < 0
    ? { text, resource: text, subresource: undefined }
    : { text, resource: text.slice(0, slash), subresource: text.slice(slash + 1) };
}

/** As RBAC reads it: `*` alone is every resource with all subresources, `pods` is not `pods/log`. */
export function matchesResource(pattern: ResourcePattern, resource: string, subresource: string): boolean {
  if (pattern.subresource === undefined) {
    return pattern.resource === '*' || (pattern.resource === resource && subresource === '');
  }
  if (pattern.resource !== '*' && pattern.resource !== resource) return false;
  return pattern.subresource === subresource || (pattern.subresource === '*' && subresource !== '');
}

/** Without any wildcard. */
export function namesResource(pattern: ResourcePattern, resource: string, subresource: string): boolean {
  return (
    pattern.resource === resource &&
    (pattern.subresource ?? '') === subresource &&
    resource !== '*' &&
    subresource !== '*'
  );
}

/**
 * For operations: they are done to the resource by whatever subresource, so an entry without one is enough.
 * @param subresource that the operation goes through
 */
export function concernsResource(pattern: ResourcePattern, resource: string, subresource: string): boolean {
  if (pattern.resource !== '*' && pattern.resource !== resource) return false;
  return pattern.subresource === undefined || pattern.subresource === '*' || pattern.subresource === subresource;
}
