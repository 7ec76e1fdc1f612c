import type { RequestHead } from '../../http/core/port.ts';
import type { StreamKind } from './port.ts';

/** PodExecOptions and PodAttachOptions (k8s.io/api/core/v1), which differ in the command alone. */
export interface ProgramQuery {
  /** Empty: the API server chooses. */
  readonly container: string;
  /** Empty for attach. */
  readonly argv: readonly string[];
  readonly stdin: boolean;
  readonly stdout: boolean;
  /** Never beside a terminal, which has one output. */
  readonly stderr: boolean;
  readonly tty: boolean;
}

const FLAGS = ['stdin', 'stdout', 'stderr', 'tty'] as const;

/**
 * What is asked for, or why it is not taken. A flag is `true` or `false`, as clients send it: what the API server makes of other values
 * nobody needs, and one that is there twice can be read in two ways.
 */
export function programQuery(kind: StreamKind, query: RequestHead['query']): ProgramQuery | string {
  const argv: string[] = [];
  const flags = new Map<string, boolean>();
  let container: string | undefined;
  for (const [name, value] of query) {
    if (name === 'command' && kind === 'exec') argv.push(value);
    else if (name === 'container') {
      if (container !== undefined) return 'more than one container';
      container = value;
    } else if ((FLAGS as readonly string[]).includes(name)) {
      if (flags.has(name)) return `${name} twice`;
      const flag = FLAG_VALUES[value.toLowerCase()];
      if (flag === undefined) return `${name} that is neither true nor false`;
      flags.set(name, flag);
    } else return `the parameter ${name.slice(0, 64)}`;
  }
  const [stdin = false, stdout = false, stderr = false, tty = false] = FLAGS.map((name) => flags.get(name));
  if (!stdin && !stdout && (!stderr || tty)) return 'none of stdin, stdout and stderr';
  if (kind === 'exec' && argv.length === 0) return 'no command';
  return { container: container ?? '', argv, stdin, stdout, stderr: stderr && !tty, tty };
}

/** As the API server reads them (Convert_Slice_string_To_bool in k8s.io/apimachinery). */
const FLAG_VALUES: Readonly<Record<string, boolean>> = { true: true, '1': true, false: false, '0': false };

/** What goes to the API server: written anew from what was understood. */
export function programTarget(
  kind: StreamKind,
  namespace: string,
  pod: string,
  { container, argv, stdin, stdout, stderr, tty }: ProgramQuery,
): string {
  const parameters = new URLSearchParams();
  if (container !== '') parameters.append('container', container);
  for (const word of argv) parameters.append('command', word);
  for (const [name, value] of Object.entries({ stdin, stdout, stderr, tty })) parameters.append(name, String(value));
  return `${podPath(namespace, pod)}/${kind}?${parameters}`;
}

export const podPath = (namespace: string, pod: string): string =>
  `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}`;

/** Ports of a port-forward over channels of WebSocket (`ports=80&ports=443` or `ports=80,443`), or why they are none. */
export function forwardPorts(query: RequestHead['query']): readonly number[] | string {
  const ports: number[] = [];
  for (const [name, value] of query) {
    if (name !== 'ports') return `the parameter ${name.slice(0, 64)}`;
    for (const part of value.split(',')) {
      const port = portOf(part);
      if (port === undefined) return 'a port that is none';
      ports.push(port);
    }
  }
  return ports.length > MOST_PORTS ? `${ports.length} ports` : ports;
}

/** A channel has one byte, and each port has two channels; 255 is none. */
const MOST_PORTS = 127;

export function portOf(text: string): number | undefined {
  const port = /^[1-9][0-9]{0,4}$/.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65_535 ? port : undefined;
}
