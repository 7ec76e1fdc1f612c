import type { Wire } from '../../listener/wire.ts';
import type { StartupError } from './startup-errors.ts';
import { errorResponse } from './wire/encode.ts';

/** How long a refused client may take to read why and close, in milliseconds. */
const LINGER_MS = 2_000;

/** The error as the ErrorResponse that ends a connection. */
export function startupErrorResponse(error: StartupError): Buffer {
  return errorResponse({
    severity: 'FATAL',
    code: error.state,
    message: error.message,
    detail: error.detail,
    hint: error.hint === '' ? undefined : error.hint,
  });
}

/**
 * Tells the client why, and closes. What the client still sends is read and dropped meanwhile: closing a socket with unread bytes
 * resets it, and a reset can overtake the message.
 */
export function refuse(wire: Wire, error: StartupError): void {
  if (wire.closed) return;
  const timer = setTimeout(() => wire.destroy(), LINGER_MS);
  timer.unref();
  wire.onBytes = () => {};
  // Not destroyed when the client ends first: what is still being encrypted or written would be lost.
  wire.onEnd = () => {};
  wire.onClose = () => clearTimeout(timer);
  wire.write(startupErrorResponse(error));
  wire.resume();
  wire.end();
}
