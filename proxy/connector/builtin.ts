import type * as Fs from 'node:fs';
import type * as Http from 'node:http';
import { createRequire } from 'node:module';

/**
 * Modules of Node's that are loaded in the older of two ways. An `import` of one evaluates all its exports: with `node:http` comes a
 * second HTTP client for WebSocket, with `node:fs` a terminal's line editor. That is 17 MB and 100 ms in every pod of every agent
 * (measured on Node 26).
 */
const require = createRequire(import.meta.url);

export const { Agent, createServer, request } = require('node:http') as typeof Http;
/** Synchronous: the files are small and in memory, and a pool of threads for them would cost more. */
export const { readFileSync, renameSync, statSync, writeFileSync } = require('node:fs') as typeof Fs;
