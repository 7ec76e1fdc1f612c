import type { CompiledConnection } from '../../../policy/bundle.ts';
import type { HttpApplication, HttpSession, RequestHead } from './core/port.ts';
import { problemAnswer } from './problem.ts';
import { run } from './run.ts';
import { createSessionState, type HttpPorts, type SessionState } from './session.ts';

/** What the HTTP lane does with requests of known callers. */
export function createHttpApplication(ports: HttpPorts): HttpApplication {
  const states = new WeakMap<HttpSession, SessionState>();
  const stateOf = (session: HttpSession): SessionState => {
    let state = states.get(session);
    if (state === undefined) {
      state = createSessionState(session, ports);
      states.set(session, state);
    }
    return state;
  };
  return {
    protocol: 'HTTP',
    handle: (exchange) => run(ports, stateOf(exchange.session), exchange),
    refuse: problemAnswer,
    choose,
  };
}

/**
 * By host name, where the client names the target; by base URL, where it names the gateway: then the address has to be that of one
 * connection. Of several for one target the first serves, which is the oldest.
 */
export function choose(
  connections: readonly CompiledConnection[],
  { host }: RequestHead,
): { readonly connection: CompiledConnection } | undefined {
  const named = connections.find(({ target }) => target.host.toLowerCase() === host);
  const [first, ...others] = connections;
  if (named !== undefined) return { connection: named };
  if (first === undefined) return undefined;
  const { host: only, port } = first.target;
  return others.every(({ target }) => target.host === only && target.port === port) ? { connection: first } : undefined;
}
