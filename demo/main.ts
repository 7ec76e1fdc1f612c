/**
 * `make demo`. On a terminal it stays up after the walk, for psql by hand; without one it ends with status 0 when every step came out
 * as it says, and 1 otherwise.
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { cp, glob, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { ApprovalRequest } from '../api/resources.ts';
import { createToken, repositoryRoot, sallyport } from '../test/support/sallyport.ts';
import { findProgram } from '../test/support/server-binaries.ts';
import { complaints, createNarrator, type Narrator, type Outcome } from './narrator.ts';
import { BACKUP, JANITOR, openShop, REPORTER, type Shop } from './shop.ts';
import { PLACEHOLDERS, SESSION_PATTERN, STEPS, type Step } from './steps.ts';

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

interface Prepared {
  /** As a person would type it. */
  readonly command: string;
  run(): Promise<Outcome>;
}

/** The program and where it connects; the password goes by the environment, as it would in a job. */
async function prepareStep(step: Step, shop: Shop): Promise<Prepared> {
  if (step.program === 'sallyport') {
    const state = step.parameters[0] === 'verify' ? [] : ['--state', shop.state];
    return {
      command: ['sallyport', ...step.parameters].map(shellWord).join(' '),
      run: () =>
        execute(path.join(repositoryRoot, 'bin', 'sallyport'), [...step.parameters, ...state], {
          XDG_CONFIG_HOME: shop.approverHome,
        }),
    };
  }
  const target =
    step.actor === 'owner'
      ? { port: shop.server.port, user: 'postgres', password: shop.server.password }
      : {
          port: shop.port,
          user: step.actor,
          password: await createToken(shop.state, { subject: SUBJECTS[step.actor] ?? REPORTER, entry: 'dist' }),
        };
  const where = ['-h', '127.0.0.1', '-p', String(target.port), '-U', target.user, '-d', 'shop'];
  const program = findProgram(step.program);
  if (program === undefined) throw new Error(`${step.program} is not installed: apt-get install postgresql-client`);
  return {
    command: [step.program, ...where, ...step.parameters].map(shellWord).join(' '),
    run: () =>
      execute(program, [...where, ...step.parameters], {
        PGPASSWORD: target.password,
        PGSSLMODE: 'disable',
        PGOPTIONS: '',
        PGCONNECT_TIMEOUT: '10',
      }),
  };
}

const SUBJECTS: Partial<Record<Step['actor'], string>> = { reporter: REPORTER, backup: BACKUP, janitor: JANITOR };

/** The request that waits, as soon as there is one. */
async function waitingRequest(shop: Shop, interrupted: AbortSignal): Promise<string> {
  const limit = AbortSignal.any([interrupted, AbortSignal.timeout(STEP_TIMEOUT_MS)]);
  for (;;) {
    limit.throwIfAborted();
    const { stdout } = await sallyport(['requests', 'list', '-o', 'json', '--state', shop.state], { entry: 'dist' });
    const requests = stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as ApprovalRequest);
    const found = requests.find(({ status }) => status?.state === 'Pending');
    if (found !== undefined) return found.metadata.name;
  }
}

/** A copy of the state folder in which one byte of what an agent asked for is another. */
async function tamperedCopy(shop: Shop, copy: string): Promise<void> {
  await cp(shop.state, copy, { recursive: true, filter: (from) => path.basename(from) !== 'run' });
  for await (const file of glob(path.join(copy, 'record', '**', '*.jsonl'))) {
    const bytes = await readFile(file);
    const at = bytes.indexOf('DROP TABLE orders');
    if (at < 0) continue;
    bytes[at] = bytes[at]! ^ 1;
    await writeFile(file, bytes);
    return;
  }
  throw new Error('the record has no DROP TABLE');
}

/** One walk over the steps, which tell each other of sessions and requests. */
function createWalk(shop: Shop, folder: string, narrator: Narrator, interrupted: AbortSignal) {
  const known: Record<keyof typeof PLACEHOLDERS, string> = {
    session: '',
    request: '',
    state: shop.state,
    copy: path.join(folder, 'copy'),
    configuration: shop.configuration,
  };
  const fill = (word: string): string => {
    for (const [name, placeholder] of Object.entries(PLACEHOLDERS))
      if (word === placeholder) return known[name as keyof typeof PLACEHOLDERS];
    return word;
  };
  return async function take(written: Step, number: string): Promise<boolean> {
    interrupted.throwIfAborted();
    if (written.tampered) await tamperedCopy(shop, known.copy);
    const step = { ...written, parameters: written.parameters.map(fill) };
    const { command, run } = await prepareStep(step, shop);
    narrator.begin(number, step, command);
    const running = run();
    let good = true;
    if (step.meanwhile !== undefined) {
      known.request = await waitingRequest(shop, interrupted);
      narrator.say(`   … it waits, as request ${known.request}`);
      for (const [index, other] of step.meanwhile.entries())
        good = (await take(other, `${number}${'abc'[index] ?? ''}`)) && good;
    }
    const outcome = await running;
    if (step.session === 'remembered') known.session = SESSION_PATTERN.exec(outcome.output)?.[1] ?? known.session;
    if (step.meanwhile !== undefined) narrator.say(`\n   … and what the ${step.actor} sees (${number}):`);
    narrator.end(step, outcome);
    return complaints(step, outcome).length === 0 && good;
  };
}

function pasteable(shop: Shop, subject: string): string {
  const bin = path.relative(process.cwd(), path.join(repositoryRoot, 'bin', 'sallyport'));
  return `PGPASSWORD=$(${bin} token create --as ${subject} --state ${shop.state}) psql "host=127.0.0.1 port=${shop.port} dbname=shop user=me sslmode=disable"`;
}

function approving(shop: Shop): string {
  const bin = path.relative(process.cwd(), path.join(repositoryRoot, 'bin', 'sallyport'));
  return `XDG_CONFIG_HOME=${shop.approverHome} ${bin} approve NAME -c ${shop.configuration} --state ${shop.state}`;
}

async function walk(interrupted: AbortSignal): Promise<boolean> {
  const narrator = createNarrator((text) => process.stdout.write(text), process.stdout.isTTY === true);
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-demo-'));
  try {
    narrator.say('Starting PostgreSQL with a small shop, and Sallyport in front of it …');
    await using shop = await openShop(folder);
    let good = true;
    const take = createWalk(shop, folder, narrator, interrupted);
    for (const [index, step] of STEPS.entries()) good = (await take(step, String(index + 1))) && good;
    narrator.say(good ? '\nEvery step came out as said.' : '\nA step came out differently: see ✗ above.');
    if (process.stdin.isTTY === true && process.stdout.isTTY === true) {
      narrator.say(`\nIt stays up. In another terminal, as the reporter:\n\n  ${pasteable(shop, REPORTER)}`);
      narrator.say(`\nand as the backup job:\n\n  ${pasteable(shop, BACKUP)}`);
      narrator.say(`\nWhat waits for approval, as Ada:\n\n  ${approving(shop)}`);
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
