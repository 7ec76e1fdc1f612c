/** Errors of the command line: one table. */
export const CLI_ERRORS = {
  SPC001: {
    message: 'the resources have {} error(s), so nothing was started',
    fix: 'Correct them; sallyport validate -f DIR shows them all.',
  },
  SPC002: {
    message: '{} cannot be listened on: {}',
    fix: 'Stop what uses the address, or give another: --listen for a connection, metrics.address of the configuration for metrics.',
  },
  SPC003: { message: 'no AccessConnection {}', fix: 'Write NAMESPACE/NAME of a connection in the resources.' },
  SPC004: {
    message: '--plaintext-loopback is for loopback addresses, and {} is none',
    fix: 'Listen on 127.0.0.1 or ::1, or leave the option out and use TLS.',
  },
  SPC005: { message: 'worker {} ended ({})', fix: 'What it wrote to stderr says why.' },
  SPC020: {
    message: 'no gateway runs on the state folder {}',
    fix: 'Start one with sallyport run -f DIR --state STATE, or give the same --state here.',
  },
  SPC021: {
    message: 'the gateway has no connection {} (state folder {}); it has: {}',
    fix: 'Write NAMESPACE/NAME of one that it has.',
  },
  SPC022: {
    message: 'connection {} speaks {}, and connect opens psql, ssh, curl and kubectl',
    fix: 'Name a Postgres, SSH, HTTP or Kubernetes connection.',
  },
  SPC023: {
    message: 'psql is not installed, or not in PATH',
    fix: 'Install it (Debian: apt-get install postgresql-client), or print the parameters with -o json.',
  },
  SPC024: {
    message: 'ssh is not installed, or not in PATH',
    fix: 'Install it (Debian: apt-get install openssh-client), or print the parameters with -o json.',
  },
  SPC025: {
    message: 'the connection {} names no user to log in as',
    fix: 'Write one with --user.',
  },
  SPC026: {
    message: '-o config is for ssh, curl and kubectl, and connection {} is of none of them',
    fix: 'Use -o json.',
  },
  SPC027: {
    message: 'curl is not installed, or not in PATH',
    fix: 'Install it (Debian: apt-get install curl), or print the parameters with -o json.',
  },
  SPC028: {
    message: 'kubectl is not installed, or not in PATH',
    fix: 'Install it (https://kubernetes.io/docs/tasks/tools/), or print a kubeconfig with -o config.',
  },
  SPC030: {
    message: 'the resources have {} error(s), so nothing can be decided on them',
    fix: 'Correct them; sallyport validate -f DIR shows them all.',
  },
  SPC031: {
    message: 'the test file {} cannot be used: {}',
    fix: 'See sallyport test --help for how cases are written.',
  },
  SPC032: { message: 'no test files under {}', fix: 'Write cases into a file that ends with .test.yaml.' },
  SPC034: { message: 'the report {} cannot be written: {}', fix: 'Check the path and its permissions.' },
  SPC035: {
    message: 'it is not said who logs in on {}, and the connection has not one user only',
    fix: 'Say it with --login-user USER; in a test case with loginUser.',
  },
  SPC036: { message: '{} cannot be decided: {}', fix: 'Give {} as the command.' },
  SPC040: {
    message: 'the database of {} cannot be asked for its columns: {}',
    fix: 'Masking rules about it were not compared with it. Check that it is up and that the credential is right.',
  },
  SPC041: {
    message: 'MaskingRule {}: {} matches no column, so it masks nothing',
    fix: 'Correct the name (schema.table.column), or remove it when the column is gone.',
  },
  SPC043: {
    message: 'the rule {} wants {} to approve, and {} in the configuration could on {}: it would be refused, not held',
    fix: 'List them under approvers, each with a key of their own (docs/approvals.md), or correct users and groups of the rule.',
  },
  SPC080: { message: 'it was not confirmed, so nothing was written', fix: 'Answer y, or give --yes.' },
  SPC081: { message: 'the reason is longer than {} characters', fix: 'Write a shorter one.' },
  SPC042: {
    message: 'the database of {} cannot be asked what its names mean: {}',
    fix: 'Check that it is up and that the credential is right, name one with --connection, or leave --database out.',
  },
  SPC044: {
    message: 'AccessConnection {}: {} is no key that can be used: {}',
    fix: 'Copy the whole line: ssh-keyscan prints host keys, and a .pub file holds a public key.',
  },
  SPC047: {
    message:
      "AccessConnection {} acts as its callers with the proxy's own service account, which counts in its own cluster alone, and {} is not what the API server is called there",
    fix: 'Use kubernetes.default.svc as target.host, or credential.impersonate.secretRef with a token of that cluster.',
  },
  SPC048: {
    message: 'AccessConnection {} sends its credential to {} in the clear',
    fix: 'Have the target speak TLS and remove target.tls.mode, or be sure of the network between the two.',
  },
  SPC050: { message: 'the certificate cannot be written to {}: {}', fix: 'Check the path and its permissions.' },
  SPC060: {
    message: 'kubectl port-forward to the archive did not work: {}',
    fix: 'It takes the right to create pods/portforward there (examples/auditors-rbac.yaml); or give an address with --archive.',
  },
  SPC061: {
    message: 'the archive {} cannot be reached: {}',
    fix: 'Check the address and --archive-ca; kubectl sallyport doctor looks at the archive itself.',
  },
  SPC062: {
    message: 'nobody says which authority the archive’s certificate is from: {}',
    fix: 'Give it with --archive-ca, or ask for the right to read that ConfigMap.',
  },
  SPC063: {
    message: 'the kubeconfig impersonates somebody, and the archive takes nobody’s word for who asks',
    fix: 'Use a context without impersonation.',
  },
  SPC064: { message: 'the archive answered with status {}', fix: 'Use the same release on both sides.' },
  SPC065: {
    message: 'the cluster has no resources of {}',
    fix: 'Install Sallyport there; kubectl sallyport doctor tells what is missing.',
  },
  SPC066: { message: 'the archive’s answer broke off', fix: 'Ask again; the log of the archive says why.' },
  SPC067: { message: 'no pod, and nothing that makes pods, is in {}', fix: 'Give a Pod, Deployment, Job or the like.' },
  SPC068: {
    message: '{} may not be read, so what follows may not be all',
    fix: 'Ask for the right to get and list it.',
  },
  SPC069: { message: 'the manifest {} cannot be read: {}', fix: 'Check the path, and that it is YAML or JSON.' },
  SPC090: {
    message: 'the session has more terminals than one, and a recording holds one: commands {}',
    fix: 'Give the number of the command with --terminal.',
  },
  SPC091: {
    message: 'command {} of the session did not run on a terminal; commands that did: {}',
    fix: 'Leave --terminal out, or give one of these.',
  },
} as const;

export type CliErrorCode = keyof typeof CLI_ERRORS;

/** Message and advice of a row of the table; what the message leaves over fills the advice. */
export function cliMessage(code: CliErrorCode, fill: readonly string[]): { message: string; fix: string } {
  let next = 0;
  const filled = (template: string): string => template.replace(/\{\}/g, () => fill[next++] ?? '');
  const { message, fix } = CLI_ERRORS[code];
  return { message: filled(message), fix: filled(fix) };
}

export class CliError extends Error {
  override readonly name = 'CliError';
  readonly code: CliErrorCode;
  readonly hint: string;

  constructor(code: CliErrorCode, fill: readonly string[], cause?: unknown) {
    const { message, fix } = cliMessage(code, fill);
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = fix;
  }
}

interface KnownError {
  readonly code: string | undefined;
  readonly message: string;
  readonly fix: string | undefined;
}

function known(error: Error): KnownError {
  const { code, hint, fix } = error as Error & { code?: unknown; hint?: unknown; fix?: unknown };
  const advice = typeof hint === 'string' && hint !== '' ? hint : fix;
  return {
    code: typeof code === 'string' && /^SP[A-Z]\d{3}$/.test(code) ? code : undefined,
    message: error.message,
    fix: typeof advice === 'string' && advice !== '' ? advice : undefined,
  };
}

/** An error as a person reads it: what happened, the stable code, what to do. */
export function errorText(error: Error): string {
  const { code, message, fix } = known(error);
  return `sallyport: ${code === undefined ? '' : `${code}: `}${message}\n${fix === undefined ? '' : `  ${fix}\n`}`;
}

/** The same for a program: one object on one line. */
export function errorJson(error: Error): string {
  return `${JSON.stringify({ error: known(error) })}\n`;
}
