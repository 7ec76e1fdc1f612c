/** What a client accepts, as the API server is asked for it. */

/** What of a media range is kept when its type is replaced (kubernetes.io/docs, "Receiving resources as Tables"). */
const KEPT_PARAMETERS: ReadonlySet<string> = new Set(['as', 'v', 'g']);
const JSON_TYPE = 'application/json';

/**
 * The Accept of a client in JSON: what is masked, and what is recorded for people to read, comes in no binary form. The shapes that a
 * client asks for (`as=Table`, `as=PartialObjectMetadataList`) and their order stay.
 * @param accept as sent; undefined: the client takes anything
 */
export function acceptJson(accept: string | undefined): string {
  const ranges: string[] = [];
  for (const range of (accept ?? '*/*').split(',')) {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim());
    if (type === '') continue;
    const kept = parameters.filter((parameter) => KEPT_PARAMETERS.has(parameter.split('=', 1)[0]?.toLowerCase() ?? ''));
    const json = [JSON_TYPE, ...kept].join(';');
    // Weights would let a range that comes later win; the API server looks at the order alone where there are none.
    if (!ranges.includes(json)) ranges.push(json);
  }
  return ranges.length === 0 ? JSON_TYPE : ranges.join(',');
}
