import type { RequestHead } from '../http/core/port.ts';
import { encodePath, withQuery } from '../http/core/target.ts';

/** Path and query of a request with one parameter in place of whatever had its name. */
export function withParameter(head: Pick<RequestHead, 'query' | 'segments'>, name: string, value: string): string {
  return withQuery(encodePath(head.segments), [...head.query.filter(([known]) => known !== name), [name, value]]);
}
