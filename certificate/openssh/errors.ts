/**
 * What is wrong with a key or certificate, in words for the place that raises the error of its own area. Never holds a part of a
 * private key.
 */
export class OpenSshError extends Error {
  override readonly name = 'OpenSshError';
}
