import { shellCommand, subsystemCommand } from '../../../../policy/ssh/commands.ts';
import { analyseExec } from '../../../../policy/ssh/exec.ts';
import type { ChannelRequest, RequestCall, RequestVerdict } from '../bridge/port.ts';
import { reportText, sshError } from '../errors.ts';
import type { ChannelState } from './channel.ts';
import { followFiles } from './files.ts';
import type { Passage } from './gatekeeper.ts';
import { followProgram } from './program.ts';
import { admitProgram } from './program-request.ts';
import type { Admitted } from './run.ts';
import type { Session } from './session.ts';

export type ProgramKind = Extract<ChannelRequest, { type: 'exec' | 'shell' | 'subsystem' }>;

const DENIED = 126;

/** Decides what a channel is asked to run, by its kind. @throws RecorderError */
export async function runProgram(
  session: Session,
  passage: Passage,
  state: ChannelState,
  call: RequestCall,
  asked: ProgramKind,
): Promise<RequestVerdict> {
  const { loginUser } = session;
  switch (asked.type) {
    case 'exec':
      return runExec(session, passage, state, call, asked);
    case 'shell':
      return admitProgram(session, passage, state, call, {
        command: shellCommand({ loginUser }),
        operation: 'Shell',
        follow: (admitted) => followShell(session, state, admitted),
        notice: (admitted) => observed(session, admitted),
      });
    case 'subsystem': {
      const files = asked.name === 'sftp';
      return admitProgram(session, passage, state, call, {
        command: subsystemCommand(asked.name, { loginUser }),
        operation: 'Subsystem',
        follow: (admitted) =>
          files ? followFiles(session, state, admitted, { type: 'sftp' }) : followProgram(session, state, admitted),
      });
    }
    default:
      return asked satisfies never;
  }
}

async function runExec(
  session: Session,
  passage: Passage,
  state: ChannelState,
  call: RequestCall,
  { bytes }: Extract<ProgramKind, { type: 'exec' }>,
): Promise<RequestVerdict> {
  const { maxStatementBytes } = session.ports.limits;
  if (bytes.length > maxStatementBytes) {
    const report = sshError('SPS008', bytes.length);
    return { verdict: 'deny', text: reportText(report, session.id), exitStatus: DENIED };
  }
  const command = analyseExec(bytes, {
    loginUser: session.loginUser,
    interactive: state.terminal !== undefined,
    decodes: ['sftp', 'scp'],
  });
  const { transfer } = command;
  return admitProgram(session, passage, state, call, {
    command,
    operation: 'Exec',
    follow: (admitted) =>
      transfer === undefined
        ? followProgram(session, state, admitted)
        : followFiles(session, state, admitted, transfer),
  });
}

/** What people agreed to does not last for ever where no rule says how long. */
const APPROVED_SHELL_MS = 3_600_000;

/** Its time is what the rule gives, and never without an end when people had to agree. */
function shellTime({ grant, limits }: Admitted): number | undefined {
  return limits.maxDurationMs ?? (grant === undefined ? undefined : APPROVED_SHELL_MS);
}

function followShell(session: Session, state: ChannelState, admitted: Admitted): ReturnType<typeof followProgram> {
  const maxDurationMs = shellTime(admitted);
  const limits = { ...admitted.limits, ...(maxDurationMs === undefined ? {} : { maxDurationMs }) };
  return followProgram(session, state, { ...admitted, limits }, { overTime: (seconds) => sshError('SPS027', seconds) });
}

/** Input of a shell cannot be judged: whoever is in one is told what that means. */
function observed({ id }: Session, admitted: Admitted): string {
  const time = shellTime(admitted);
  const until = time === undefined ? '' : `; it ends after ${time / 1000} s`;
  return `this shell is observed, not controlled: what it shows is recorded${until}. Session ${id}`;
}
