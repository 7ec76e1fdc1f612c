import type { Command } from 'commander';
import { registerDoctor } from '../cluster/doctor.ts';
import { registerInject } from '../cluster/inject.ts';
import { clusterPolicies } from '../cluster/policies.ts';
import { clusterRecord } from '../cluster/record.ts';
import { clusterRequests } from '../cluster/requests.ts';
import { registerStatus } from '../cluster/status.ts';
import { registerVerify } from '../cluster/verify.ts';
import { register as registerApprove } from '../commands/approve.ts';
import { register as registerExplain } from '../commands/explain.ts';
import { register as registerReplay } from '../commands/replay.ts';
import { register as registerRequests } from '../commands/requests.ts';
import { register as registerSessions } from '../commands/sessions.ts';
import { register as registerVersion } from '../commands/version.ts';
import type { CliIo } from '../io.ts';
import { ABOUT, programFrame } from '../program.ts';
import { registerComplete } from './complete.ts';

const DESCRIPTION = 'Sallyport in a cluster: what is in force, what waits for you, what happened, and what is wrong';

const OUTLINE = `
Exit status: 0 done, 1 not (the reason is on stderr, with a stable code), 2 wrong usage.
With -o json, answers on stdout and errors on stderr are JSON.

First steps:
  kubectl sallyport doctor
  kubectl sallyport status -A
  kubectl sallyport requests list`;

/**
 * The same commands as on one machine, reading from a cluster: `kubectl sallyport`. kubectl runs what is called `kubectl-sallyport` in PATH
 * (kubernetes.io/docs, "Extend kubectl with plugins").
 */
export function createPlugin(io: CliIo): Command {
  const program = programFrame('kubectl sallyport', DESCRIPTION, OUTLINE, io);
  program.configureOutput({
    writeOut: (text) => void io.stdout.write(examplesForCluster(text)),
    writeErr: (text) => void io.stderr.write(text),
  });
  program.commandsGroup('See what is in force:');
  registerStatus(program, io);
  registerExplain(program, io, clusterPolicies());
  registerInject(program, io);
  registerReplay(program, io, clusterRecord());
  program.commandsGroup('Decide what waits for people:');
  registerRequests(program, io, clusterRequests());
  registerApprove(program, io, clusterRequests());
  program.commandsGroup('Look at what happened:');
  registerSessions(program, io, clusterRecord());
  registerVerify(program, io);
  program.commandsGroup('When something is wrong:');
  registerDoctor(program, io);
  program.commandsGroup(ABOUT);
  registerVersion(program, io);
  registerComplete(program, io);
  return program;
}

/** Examples in a command's help are written for a folder: the same ones without what only a folder has. */
export function examplesForCluster(help: string): string {
  return help
    .split('\n')
    .filter((line) => !/^ +sallyport .*--state/.test(line))
    .map((line) =>
      /^ +sallyport /.test(line)
        ? line.replace('sallyport ', 'kubectl sallyport ').replace(/ -f policies| --as ada| -c sallyport\.yaml/g, '')
        : line,
    )
    .join('\n');
}
