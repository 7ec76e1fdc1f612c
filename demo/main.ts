/**
 * `make demo`. On a terminal it stays up after the walk, for psql by hand; without one it ends with status 0 when every step came out
 * as it says, and 1 otherwise.
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { createToken, repositoryRoot } from '../test/support/sallyport.ts';
import { findProgram } from '../test/support/server-binaries.ts';
import { complaints, createNarrator, type Outcome } from './narrator.ts';
import { BACKUP, openShop, REPORTER, type Shop } from './shop.ts';
import { REMEMBERED_SESSION, SESSION_PATTERN, STEPS, type Step } from './steps.ts';

const STEP_TIMEOUT_MS = 60_000;

function shellWord(word: string): string {
  return /^[\w./:=,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

function execute(program: string, parameters: readonly string[], environment: NodeJS.ProcessEnv): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, ...environment }, timeout: STEP_TIMEOUT_MS, maxBuffer: 16 * 1024 * 1024 };
    // One pipe for both, so that errors stand where a terminal would show them.
    execFile('/bin/sh', ['-c', 'exec "$0" "$@" 2>&1', program, ...parameters], options, (error, output) => {
      const status = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
      resolve({
        status,
        output: error?.killed === true ? `${output}ended after ${STEP_TIMEOUT_MS / 1000} s\n` : output,
      });
    });
  });
}

/** The program and where it connects; the password goes by the environment, as it would in a job. */
async function runStep(step: Step, shop: Shop): Promise<{ command: string; outcome: Outcome }> {
  if (step.program === 'sallyport') {
    const outcome = await execute(
      path.join(repositoryRoot, 'bin', 'sallyport'),
      [...step.parameters, '--state', shop.state],
      {},
    );
    return { command: `sallyport ${step.parameters.join(' ')}`, outcome };
  }
  const target =
    step.actor === 'owner'
      ? { port: shop.server.port, user: 'postgres', password: shop.server.password }
      : {
          port: shop.port,
          user: step.actor,
          password: await createToken(shop.state, {
            subject: step.actor === 'backup' ? BACKUP : REPORTER,
            entry: 'dist',
          }),
        };
  const where = ['-h', '127.0.0.1', '-p', String(target.port), '-U', target.user, '-d', 'shop'];
  const program = findProgram(step.program);
  if (program === undefined) throw new Error(`${step.program} is not installed: apt-get install postgresql-client`);
  const outcome = await execute(program, [...where, ...step.parameters], {
    PGPASSWORD: target.password,
    PGSSLMODE: 'disable',
    PGOPTIONS: '',
    PGCONNECT_TIMEOUT: '10',
  });
  return { command: [step.program, ...where, ...step.parameters].map(shellWord).join(' '), outcome };
}

function pasteable(shop: Shop, subject: string): string {
  const bin = path.relative(process.cwd(), path.join(repositoryRoot, 'bin', 'sallyport'));
  return `PGPASSWORD=$(${bin} token create --as ${subject} --state ${shop.state}) psql "host=127.0.0.1 port=${shop.port} dbname=shop user=me sslmode=disable"`;
}

async function walk(interrupted: AbortSignal): Promise<boolean> {
  const narrator = createNarrator((text) => process.stdout.write(text), process.stdout.isTTY === true);
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-demo-'));
  try {
    narrator.say('Starting PostgreSQL with a small shop, and Sallyport in front of it …');
    await using shop = await openShop(folder);
    let good = true;
    let session = '';
    for (const [index, written] of STEPS.entries()) {
      interrupted.throwIfAborted();
      const parameters = written.parameters.map((word) => (word === REMEMBERED_SESSION ? session : word));
      const step = { ...written, parameters };
      const { command, outcome } = await runStep(step, shop);
      if (step.session === 'remembered') session = SESSION_PATTERN.exec(outcome.output)?.[1] ?? session;
      narrator.step(index + 1, step, command, outcome);
      good &&= complaints(step, outcome).length === 0;
    }
    narrator.say(good ? '\nEvery step came out as said.' : '\nA step came out differently: see ✗ above.');
    if (process.stdin.isTTY === true && process.stdout.isTTY === true) {
      narrator.say(`\nIt stays up. In another terminal, as the reporter:\n\n  ${pasteable(shop, REPORTER)}`);
      narrator.say(`\nand as the backup job:\n\n  ${pasteable(shop, BACKUP)}`);
      narrator.say(`\nPolicies to edit while it runs: ${shop.resources}\nCtrl-C ends it and removes everything.`);
      if (!interrupted.aborted) await once(interrupted, 'abort');
    }
    return good;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const interruption = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interruption.abort());
try {
  process.exitCode = (await walk(interruption.signal)) ? 0 : 1;
} catch (error) {
  process.stderr.write(`demo: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
