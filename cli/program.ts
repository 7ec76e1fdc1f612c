import { Command, CommanderError, type Option } from 'commander';
import { register as registerApprove } from './commands/approve.ts';
import { register as registerApprover } from './commands/approver.ts';
import { register as registerArchive } from './commands/archive.ts';
import { register as registerCa } from './commands/ca.ts';
import { register as registerCompletion } from './commands/completion.ts';
import { register as registerConnect } from './commands/connect.ts';
import { register as registerExplain } from './commands/explain.ts';
import { register as registerOperator } from './commands/operator.ts';
import { register as registerProxy } from './commands/proxy.ts';
import { register as registerRecordKey } from './commands/record-key.ts';
import { register as registerReplay } from './commands/replay.ts';
import { register as registerRequests } from './commands/requests.ts';
import { register as registerRun } from './commands/run.ts';
import { register as registerSessions } from './commands/sessions.ts';
import { register as registerTest } from './commands/test.ts';
import { register as registerToken } from './commands/token.ts';
import { register as registerUninstall } from './commands/uninstall.ts';
import { register as registerValidate } from './commands/validate.ts';
import { register as registerVerify } from './commands/verify.ts';
import { register as registerVersion } from './commands/version.ts';
import { errorJson, errorText } from './errors.ts';
import type { CliIo } from './io.ts';
import { packageVersion } from './version.ts';

const DESCRIPTION =
  'Access gateway for automated agents: verifies who calls, decides each command, masks what comes back, records it';

const OUTLINE = `
Exit status: 0 done, 1 not (the reason is on stderr, with a stable code), 2 wrong usage.
With -o json, answers on stdout and errors on stderr are JSON.

First steps:
  sallyport validate -f examples/standalone
  sallyport run -f examples/standalone -c examples/standalone/sallyport.yaml --state /tmp/sallyport
  sallyport connect shop/orders --as system:serviceaccount:shop:agent --state /tmp/sallyport`;

export const ABOUT = 'About this program:';

/** Choices and defaults as people write them; that a list is empty and a switch off needs no words. */
function describeOption(option: Option): string {
  const { description, argChoices, defaultValue, defaultValueDescription } = option;
  const said = typeof defaultValue === 'string' || typeof defaultValue === 'number' ? String(defaultValue) : undefined;
  const standard = defaultValueDescription ?? said;
  const facts = [
    ...(argChoices === undefined ? [] : [`one of ${argChoices.join(', ')}`]),
    ...(standard === undefined ? [] : [`default: ${standard}`]),
  ];
  return facts.length === 0 ? description : `${description} (${facts.join('; ')})`;
}

/** A program without commands: how it speaks and fails. */
export function programFrame(name: string, description: string, outline: string, io: CliIo): Command {
  return new Command(name)
    .description(description)
    .version(packageVersion(), '-V, --version', 'show the version')
    .addHelpText('after', outline)
    .showHelpAfterError('(add --help for the options)')
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
    })
    .configureHelp({ optionDescription: describeOption })
    .exitOverride()
    .addHelpCommand(
      new Command('help').argument('[command]').description('Show the help of a command').helpGroup(ABOUT),
    );
}

/** All commands, in the order in which people need them. */
export function createProgram(io: CliIo): Command {
  const program = programFrame('sallyport', DESCRIPTION, OUTLINE, io);
  program.commandsGroup('Serve and connect:');
  registerRun(program, io);
  registerConnect(program, io);
  registerToken(program, io);
  registerProxy(program, io);
  registerArchive(program, io);
  registerOperator(program, io);
  registerUninstall(program, io);
  registerCa(program, io);
  program.commandsGroup('Write policies:');
  registerValidate(program, io);
  registerExplain(program, io);
  registerTest(program, io);
  registerReplay(program, io);
  program.commandsGroup('Decide what waits for people:');
  registerRequests(program, io);
  registerApprove(program, io);
  registerApprover(program, io);
  program.commandsGroup('Look at what happened:');
  registerSessions(program, io);
  registerVerify(program, io);
  registerRecordKey(program, io);
  program.commandsGroup(ABOUT);
  registerCompletion(program, io);
  registerVersion(program, io);
  return program;
}

/** Whether the caller asked for JSON, known also when the arguments as a whole are not usable. */
function wantsJson(words: readonly string[]): boolean {
  const own = words.includes('--') ? words.slice(0, words.indexOf('--')) : words;
  return own.some(
    (word, index) =>
      word === '-ojson' ||
      word === '--output=json' ||
      (word === 'json' && ['-o', '--output'].includes(own[index - 1] ?? '')),
  );
}

/** Runs the command that the arguments name. Every failure ends as an exit status and one message on stderr. */
export async function runProgram(io: CliIo, create: (io: CliIo) => Command = createProgram): Promise<void> {
  try {
    await create(io).parseAsync([...io.arguments], { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) {
      // Help and version are asked for; everything else that commander reports is wrong usage, and it has said so.
      if (error.exitCode !== 0) io.setExitCode(2);
      return;
    }
    if (!(error instanceof Error)) throw error;
    io.stderr.write(wantsJson(io.arguments) ? errorJson(error) : errorText(error));
    io.setExitCode(1);
  }
}
