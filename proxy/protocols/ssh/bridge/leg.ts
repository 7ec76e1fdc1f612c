import type { ConnectionLayer } from '../transport/port.ts';
import type { Side } from './port.ts';

/** One connection of a bridge, and why its reading may have to wait. */
export interface Leg {
  readonly side: Side;
  readonly layer: ConnectionLayer;
  /** Answers of our own wait to be written: who asks faster than it reads has to wait. */
  choked: boolean;
  /** Observers that have not finished with what came from here. */
  observing: number;
  paused: boolean;
  over: boolean;
}

export const createLeg = (side: Side, layer: ConnectionLayer): Leg => ({
  side,
  layer,
  choked: false,
  observing: 0,
  paused: false,
  over: false,
});

/** Sends something of our own. */
export function answer(leg: Leg, payload: Buffer): void {
  if (!leg.layer.send(payload)) leg.choked = true;
}

/** Reading from a leg stops while what it sends cannot be passed on. */
export function setPaused(leg: Leg, destinationsCongested: boolean): void {
  const paused = destinationsCongested || leg.choked || leg.observing > 0;
  if (paused === leg.paused || leg.over) return;
  leg.paused = paused;
  if (paused) leg.layer.pause();
  else leg.layer.resume();
}
