import type { HttpCommand, WebTuple } from '../command.ts';
import type { ProtocolRules } from '../protocol-rules.ts';
import { coversHttp, grantsMcpAt, hitsHttp } from './match.ts';
import { isHarmlessMessage } from './mcp.ts';

/** Judging of HTTP. Nothing is opaque: what the lane does not understand it refuses before it asks. */
export const httpRules: ProtocolRules<WebTuple, HttpCommand> = {
  covers: ({ http }, tuple) => http !== undefined && coversHttp(http, tuple),
  hits: ({ http }, tuple) => http !== undefined && hitsHttp(http, tuple),
  isOpaque: () => false,
  isHarmless: (tuple, _command, allow) =>
    tuple.type === 'mcp' &&
    isHarmlessMessage(tuple) &&
    allow.some(({ http }) => http !== undefined && grantsMcpAt(http, tuple.path)),
  isNeverHeld: (tuple) => tuple.type === 'mcp' && isHarmlessMessage(tuple),
  // A message is in the body; of a plain request the text says all that lists look at.
  reuse: ({ tuples }) => (tuples.every(({ type }) => type === 'http') ? 'text' : 'never'),
};
