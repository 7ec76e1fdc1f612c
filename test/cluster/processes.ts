/** The processes of a cluster, kept in files so that another process can end what a killed one has left. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';

/** A process is its number and its start: numbers are given out again. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly started: string;
}

/** Undefined when there is none, or only what its parent has not collected yet. */
export async function identify(pid: number): Promise<ProcessIdentity | undefined> {
  let status: string;
  try {
    status = await readFile(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // proc(5): the name in parentheses may hold anything; state is field 3 and start time field 22.
  const fields = status.slice(status.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' ? undefined : { pid, started: fields[19] ?? '' };
}

export async function isAlive({ pid, started }: ProcessIdentity): Promise<boolean> {
  return (await identify(pid))?.started === started;
}

/** Kills, and resolves once it is gone. */
export async function killAndWait(identity: ProcessIdentity): Promise<void> {
  while (await isAlive(identity)) {
    try {
      process.kill(identity.pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
    // The end of another's child is no event here.
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export interface Component {
  readonly name: string;
  /** File with all that it printed. */
  readonly log: string;
  readonly pid: number;
  /** Undefined while it runs. */
  status(): number | NodeJS.Signals | undefined;
  /** Sends the signal and waits for the end. */
  stop(signal: NodeJS.Signals): Promise<void>;
}

export interface ComponentPlan {
  readonly name: string;
  readonly command: readonly string[];
}

export interface ComponentSurroundings {
  /** The cluster's folder; its `log` and `pid` must exist. */
  readonly folder: string;
  /** Goes on when this process ends. */
  readonly kept: boolean;
}

/** Starts it; it dies with this process, however that ends, unless it is to be kept. */
export async function startComponent(
  { name, command }: ComponentPlan,
  { folder, kept }: ComponentSurroundings,
): Promise<Component> {
  const log = path.join(folder, 'log', name);
  const output = openSync(log, 'a');
  const [program, ...parameters] = kept ? command : ['setpriv', '--pdeathsig', 'KILL', '--', ...command];
  const child = spawn(program as string, parameters, {
    stdio: ['ignore', output, output],
    cwd: folder,
    detached: kept,
  });
  closeSync(output);
  await once(child, 'spawn');
  if (kept) child.unref();
  const pid = child.pid as number;
  const closed = once(child, 'exit');
  const identity = await identify(pid);
  if (identity !== undefined) await writeFile(path.join(folder, 'pid', name), JSON.stringify(identity));
  const status = (): number | NodeJS.Signals | undefined => child.exitCode ?? child.signalCode ?? undefined;
  return {
    name,
    log,
    pid,
    status,
    async stop(signal) {
      if (status() !== undefined) return;
      child.kill(signal);
      await closed;
    },
  };
}

/** By component name, what was started in the folder. */
export async function recordedComponents(folder: string): Promise<Map<string, ProcessIdentity>> {
  const found = new Map<string, ProcessIdentity>();
  let names: string[];
  try {
    names = await readdir(path.join(folder, 'pid'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return found;
    throw error;
  }
  for (const name of names) {
    const text = await readFile(path.join(folder, 'pid', name), 'utf8');
    // Killed between making the file and writing it: the process died with its starter.
    if (text !== '') found.set(name, JSON.parse(text) as ProcessIdentity);
  }
  return found;
}
