import type { SshCommand } from '../../../../policy/command.ts';
import type { SshReceived } from '../../../../record/ssh-events.ts';
import type { RequestCall, RequestVerdict } from '../bridge/port.ts';
import { reportOf, reportText, words } from '../errors.ts';
import { whyUnmaskable } from '../output/unmaskable.ts';
import { type ChannelState, settingsOf } from './channel.ts';
import type { Passage } from './gatekeeper.ts';
import { type Admitted, admitCommand } from './run.ts';
import type { Session } from './session.ts';

/** How an admitted program's channel is treated from its start on. */
export type Follow = (admitted: Admitted) => {
  readonly forward: Extract<RequestVerdict, { verdict: 'forward' }> | object;
  close(): void;
};

/** What a client asks a channel to run. */
export interface ProgramRequest {
  readonly command: SshCommand;
  /** As policy calls it, where a command has several. */
  readonly operation: string;
  readonly follow: Follow;
  /** Said on stderr before it starts. */
  readonly notice?: (admitted: Admitted) => string;
}

const DENIED = 126;

/** From exec, shell or subsystem to a program that runs, or the denial that its client reads. @throws RecorderError */
export async function admitProgram(
  session: Session,
  passage: Passage,
  state: ChannelState,
  call: RequestCall,
  { command, operation, follow, notice }: ProgramRequest,
): Promise<RequestVerdict> {
  const admission = await admitCommand(session, {
    command,
    facts: factsOf(command, operation, state),
    settings: settingsOf(state),
    note: (text) => call.note(text),
    signal: call.signal,
    unmaskable: (masks) => whyUnmaskable(command, masks),
  });
  if ('report' in admission)
    return { verdict: 'deny', text: reportText(admission.report, session.id), exitStatus: DENIED };
  const { admitted } = admission;
  const program = follow(admitted);
  state.program = program;
  if (passage.perCommand === undefined) {
    tell();
    return { verdict: 'forward', ...program.forward };
  }
  try {
    const via = await passage.perCommand();
    tell();
    return { verdict: 'forward', ...program.forward, via };
  } catch (error) {
    program.close();
    const failure = error instanceof Error ? error : new Error(String(error));
    session.ports.failed(session.id, 'no connection for a command', failure);
    return { verdict: 'deny', text: reportText(reportOf(failure), session.id), exitStatus: DENIED };
  }

  function tell(): void {
    if (notice !== undefined) call.note(words(notice(admitted)));
  }
}

/** What the record says of it besides its text and the decision. */
function factsOf(command: SshCommand, operation: string, state: ChannelState): SshReceived {
  const argv = command.tuples.flatMap((tuple) => (tuple.type === 'exec' ? [tuple.argv] : []));
  const paths = command.tuples.flatMap((tuple) => (tuple.type === 'file' ? [tuple.path] : []));
  return {
    channel: state.channel.serial,
    operation,
    user: command.loginUser,
    ...(argv.length === 0 ? {} : { argv }),
    ...(paths.length === 0 ? {} : { paths }),
    ...(state.terminal === undefined ? {} : { terminal: state.terminal }),
    ...(state.environment.size === 0 ? {} : { env: Object.fromEntries(state.environment) }),
  };
}
