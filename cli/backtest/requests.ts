import type { CompiledConnection, PolicyScope } from '../../policy/bundle.ts';
import type { Command } from '../../policy/command.ts';
import { apiCommandOf } from '../commands/api-question.ts';
import { CliError } from '../errors.ts';

/** Requests to an API server of which the URL says all; what others mean stands in their bodies. */
const SAID_BY_URL = /^(GET|HEAD|OPTIONS|DELETE) |^POST [^?]*\/pods\/[^/?]+\/(exec|attach|portforward)(\?|$)/;

/** A recorded request of Kubernetes or HTTP, from its text alone; or why that does not say what was decided on. */
export function requestOf(connection: CompiledConnection, scope: PolicyScope, text: string): Command | string {
  if (connection.protocol === 'Kubernetes' && !SAID_BY_URL.test(text)) {
    return 'what a write to an API server means is in its body, which is not looked at here';
  }
  if (connection.protocol === 'HTTP' && (scope.needs.body || scope.needs.headers)) {
    return 'a rule for its subject looks at bodies or header fields, which are not looked at here';
  }
  if (connection.protocol === 'HTTP' && connection.http.mcpPaths.length > 0 && / .* /.test(text)) {
    return 'what a message of MCP asks for is in its body, which is not looked at here';
  }
  try {
    return apiCommandOf(connection, text, {}, scope).command;
  } catch (error) {
    if (error instanceof CliError) return 'its text is no request';
    throw error;
  }
}
