import { resolve } from 'node:path';
import { type Configuration, DEFAULT_CONFIGURATION, loadConfiguration } from '../../api/configuration.ts';
import { type Loaded, loadResources } from '../../api/load.ts';
import { checkRules } from '../../api/rules.ts';
import type { Bundle, CompiledConnection, PolicyScope } from '../../policy/bundle.ts';
import type { Command } from '../../policy/command.ts';
import { compile } from '../../policy/compile.ts';
import type { Decision } from '../../policy/decision.ts';
import type { Subject } from '../../policy/subject.ts';
import { analyse } from '../../proxy/protocols/postgres/sql/analyse.ts';
import { loadParser } from '../../proxy/protocols/postgres/sql/parse.ts';
import { findingsOf } from '../../proxy/standalone/bundle-source.ts';
import { CliError } from '../errors.ts';
import { findingText } from '../findings.ts';
import type { CliIo } from '../io.ts';
import { type ApiQuestion, apiCommandOf } from './api-question.ts';
import { type SshQuestion, sshCommandOf } from './ssh-question.ts';

/** The policies of a folder, ready to be asked. */
export interface Policies {
  readonly bundle: Bundle;
  readonly loaded: Loaded;
  readonly configuration: Configuration;
}

/** A decision without a database: names mean what the default search_path says, and no catalog is there. */
export interface OfflineDecision {
  /** SQL that does not parse. */
  readonly parseError?: { readonly message: string };
  /** Kubernetes: what is there already would decide what the request does, and the worst was assumed. */
  readonly worst?: boolean;
  readonly scope: PolicyScope;
  readonly connection: CompiledConnection;
  readonly decision: Decision;
}

/**
 * Loads and compiles the resources under the paths, as `run` does. Errors go to stderr; warnings are what `validate` is for.
 * @throws CliError SPC030 when one of them is an error
 */
export async function loadPolicies(
  paths: readonly string[],
  configurationFile: string | undefined,
  io: CliIo,
): Promise<Policies> {
  const configuration =
    configurationFile === undefined
      ? DEFAULT_CONFIGURATION
      : await loadConfiguration(resolve(io.cwd, configurationFile));
  const loaded = await loadResources(
    paths.map((path) => resolve(io.cwd, path)),
    checkRules,
  );
  const { bundle, problems } = compile(loaded.resources, { guardrailNamespace: configuration.guardrailNamespace });
  const findings = [...loaded.findings, ...findingsOf(loaded, problems)];
  for (const finding of findings) if (finding.severity === 'error') io.stderr.write(findingText(finding));
  // What compilation reports fails closed in the bundle, and explaining it shows how.
  const errors = loaded.findings.filter(({ severity }) => severity === 'error').length;
  if (errors > 0) throw new CliError('SPC030', [String(errors)]);
  await loadParser();
  return { bundle, loaded, configuration };
}

/** NAMESPACE/NAME, or a name in the namespace `default`. @throws CliError SPC003 */
export function connectionNamed(bundle: Bundle, reference: string): CompiledConnection {
  const slash = reference.indexOf('/');
  const namespace = slash < 0 ? 'default' : reference.slice(0, slash);
  const connection = bundle.connection(namespace, reference.slice(slash + 1));
  if (connection === undefined) throw new CliError('SPC003', [reference]);
  return connection;
}

export interface Question extends SshQuestion, ApiQuestion {
  readonly subject: Subject;
  readonly connection: string;
  readonly command: string;
  readonly at: Date;
}

/**
 * The decision that the gateway would give, but for what only the target's catalog can tell.
 * @throws CliError SPC003, SPC035, SPC036
 */
export function decideOffline({ bundle }: Pick<Policies, 'bundle'>, question: Question): OfflineDecision {
  const { subject, connection: name, at } = question;
  const connection = connectionNamed(bundle, name);
  const scope = bundle.scope(subject, connection);
  const session = {
    id: 'offline',
    startedAt: at,
    clientAddress: '127.0.0.1',
    applicationName: 'sallyport',
    commands: 0,
  };
  const { parseError, command, worst = false } = commandOf(connection, scope, question);
  const decision = scope.decide(command, { now: at, session });
  return {
    ...(parseError === undefined ? {} : { parseError }),
    ...(worst ? { worst } : {}),
    scope,
    connection,
    decision,
  };
}

interface OfflineCommand {
  readonly command: Command;
  readonly parseError?: { readonly message: string } | undefined;
  readonly worst?: boolean;
}

function commandOf(connection: CompiledConnection, scope: PolicyScope, question: Question): OfflineCommand {
  switch (connection.protocol) {
    case 'SSH':
      return { command: sshCommandOf(connection, question.command, question) };
    case 'Kubernetes':
    case 'HTTP':
      return apiCommandOf(connection, question.command, question, scope);
    case 'Postgres':
      return analyse(
        question.command,
        { searchPath: ['public'], role: '', catalog: undefined, temporary: new Set(), prepared: () => undefined },
        scope.masks,
        undefined,
      );
    default:
      return connection.protocol satisfies never;
  }
}
