import { serveCommand } from './command.ts';
import { streamError } from './errors.ts';
import { serveForward } from './forward.ts';
import { negotiate } from './negotiate.ts';
import type { StreamCall } from './port.ts';
import { forwardPorts, programQuery } from './query.ts';
import { answerRefusal } from './told.ts';

/**
 * Carries one exec, attach or port-forward from its request to its end: decided by the lane, masked, recorded, with whatever the client
 * speaks on one side and WebSocket to the API server on the other. Resolves when it is over. What is no stream is answered with 400 and
 * reaches nobody.
 * @throws RecorderError
 */
export async function serveStream(call: StreamCall): Promise<void> {
  const { kind, exchange } = call;
  const refuse = (why: string): Promise<void> => answerRefusal(streamError('SPL100', why), call);
  const transport = negotiate(kind, exchange.head);
  if (typeof transport === 'string') return refuse(transport);
  if (kind === 'portforward') {
    const ports = forwardPorts(exchange.head.query);
    if (typeof ports === 'string') return refuse(ports);
    if (transport.type === 'channels' && ports.length === 0) return refuse('no ports');
    return serveForward(call, ports, transport);
  }
  const asked = programQuery(kind, exchange.head.query);
  if (typeof asked === 'string') return refuse(asked);
  if (transport.type === 'tunnel') return refuse('a tunnel is for ports');
  return serveCommand(call, asked, transport);
}
