/**
 * Set up for every test: waiting for a condition ends when it holds. Vitest's own limit of a second would fail a machine for being busy;
 * this one is there to end what hangs.
 */
import { vi } from 'vitest';

const LIMIT_MS = 60_000;
const { waitFor } = vi;

vi.waitFor = (callback, options) =>
  waitFor(callback, typeof options === 'number' ? options : { timeout: LIMIT_MS, ...options });
