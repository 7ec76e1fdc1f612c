#!/usr/bin/env node
import type { CliIo } from './io.ts';
import { runProgram } from './program.ts';

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort(new Error(signal)));
// A reader that goes away, such as head, is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const io: CliIo = {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  cwd: process.cwd(),
  pid: process.pid,
  arguments: process.argv.slice(2),
  isTTY: process.stdout.isTTY === true,
  columns: process.stdout.columns,
  signal: stop.signal,
  onHangup: (listener) => void process.on('SIGHUP', listener),
  setExitCode: (code) => {
    process.exitCode = code;
  },
};

await runProgram(io);
