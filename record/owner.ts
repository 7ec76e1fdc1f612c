import { readFileSync } from 'node:fs';

/**
 * Which process writes a segment, so that another one knows whether it may still grow. A process id alone is not enough: ids
 * are used again, and in a container every gateway has the same small one.
 */
export interface SegmentOwner {
  readonly pid: number;
  /** Random, one per process. */
  readonly process: string;
  /** Linux: the kernel's id of this boot. */
  readonly boot?: string;
  /** Linux: clock ticks from boot to the start of the process (proc_pid_stat(5), field 22). */
  readonly started?: string;
}

export function ownerOf(pid: number, process: string): SegmentOwner {
  const boot = bootId();
  const started = startTicks(pid);
  return { pid, process, ...(boot === undefined ? {} : { boot }), ...(started === undefined ? {} : { started }) };
}

/** True when the owner may still write. Where the system cannot tell, it is taken to be alive: nothing is then repaired. */
export function ownerIsAlive(owner: SegmentOwner): boolean {
  const boot = bootId();
  if (boot === undefined) return true;
  if (owner.boot === undefined || owner.started === undefined) return startTicks(owner.pid) !== undefined;
  return owner.boot === boot && startTicks(owner.pid) === owner.started;
}

/** The owner that a `segment.start` event names. */
export function parseOwner(value: unknown): SegmentOwner | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (!('pid' in value) || typeof value.pid !== 'number') return undefined;
  if (!('process' in value) || typeof value.process !== 'string') return undefined;
  return {
    pid: value.pid,
    process: value.process,
    ...('boot' in value && typeof value.boot === 'string' ? { boot: value.boot } : {}),
    ...('started' in value && typeof value.started === 'string' ? { started: value.started } : {}),
  };
}

function bootId(): string | undefined {
  return readProc('/proc/sys/kernel/random/boot_id')?.trim();
}

function startTicks(pid: number): string | undefined {
  const stat = readProc(`/proc/${pid}/stat`);
  // The second field is the program's name in parentheses and may hold anything: count from the last parenthesis.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  // A zombie has ended: nobody has waited for it yet, but it writes no more.
  return fields === undefined || fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    // No such process, or a system without /proc: both mean that nothing is known.
    return undefined;
  }
}
