/** What commands may touch of the process: handed in by main.ts, so that each can be run in a test. */
export interface CliIo {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly pid: number;
  /** Arguments after the program's name. */
  readonly arguments: readonly string[];
  /** True when a person looks at stdout. */
  readonly isTTY: boolean;
  /** Asks the person at the terminal for one line; undefined when nobody is there to answer. */
  readonly ask?: (question: string) => Promise<string>;
  /** Width of that terminal in characters, where it is known. */
  readonly columns?: number | undefined;
  /** Aborts on SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
  /** Calls back on SIGHUP. */
  onHangup(listener: () => void): void;
  /** 0, 1 or 2; that of the program where a command runs one whose status says something. */
  setExitCode(code: number): void;
}

/** Where state is kept when nobody says: the XDG base directory for state, else the home's. */
export function defaultState(env: CliIo['env']): string {
  const base = env['XDG_STATE_HOME'] || `${env['HOME'] ?? '.'}/.local/state`;
  return `${base}/sallyport`;
}

/** The default of `--state` for commands that also read a configuration, as their help says it. */
export function stateWords(env: CliIo['env']): string {
  return `default: that of the configuration, else ${defaultState(env)}`;
}

/** Where the person who runs this keeps their own approver keys: the XDG base directory for configuration, else the home's. */
export function defaultApproverKeys(env: CliIo['env']): string {
  const base = env['XDG_CONFIG_HOME'] || `${env['HOME'] ?? '.'}/.config`;
  return `${base}/sallyport/approvers`;
}
