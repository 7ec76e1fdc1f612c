import { channelCommand } from '../../../../policy/ssh/commands.ts';
import type {
  ChannelInfo,
  ChannelPurpose,
  Gatekeeper,
  GlobalRequest,
  GlobalVerdict,
  OpenVerdict,
  RequestCall,
  RequestVerdict,
} from '../bridge/port.ts';
import { OpenFailure } from '../bridge/port.ts';
import { reportLine, reportOf, reportText, type SshReport, sshError } from '../errors.ts';
import type { ConnectionLayer } from '../transport/port.ts';
import { type ChannelState, newChannel } from './channel.ts';
import { admitWithoutProgram, createRemoteForwards, followForward, type Granted, localForward } from './forwards.ts';
import { denyUnread, type ProgramKind, runProgram } from './programs.ts';
import type { Session } from './session.ts';

/** How a session's channels come to the target. */
export interface Passage {
  /** Undefined: all channels go over one connection. Else the one for the next command, with a credential of its own. */
  readonly perCommand: (() => Promise<ConnectionLayer>) | undefined;
}

export interface SessionGatekeeper extends Gatekeeper {
  /** A program runs that is no shell, or something is being decided: whoever ends the session now interrupts it. */
  readonly working: boolean;
  /** Everything that was granted is over. */
  close(): void;
}

const DENIED = 126;
/** Names that say how text is written and shown; everything else could change what a command does. */
const PASSED_ENVIRONMENT = /^(LANG|LC_[A-Z]{1,32}|TERM)$/;
/**
 * Values as locales and terminals have them: names with single signs between. A locale with a slash is a file that the C library would load,
 * and where a shell computes (`test LC_ALL -eq 1` in mksh, `printf %d LANG` in zsh) it computes what a variable holds: `a[$(id)]`, `PATH=0`.
 */
const PASSED_VALUE = /^[A-Za-z0-9]*(?:[-_.@:,+ ][A-Za-z0-9]+)*$/;
const MOST_ENVIRONMENT_BYTES = 256;
/** There are fewer categories of a locale. */
const MOST_VARIABLES = 32;

/** A client with a terminal shows bytes as they come: lines have to begin where they should. */
const lines = (text: string, { terminal }: ChannelState): string =>
  terminal === undefined ? text : text.replaceAll('\n', '\r\n');

function forTerminal(call: RequestCall, state: ChannelState): RequestCall {
  if (state.terminal === undefined) return call;
  return { ...call, note: (text) => call.note(lines(text, state)) };
}

export function createGatekeeper(session: Session, passage: Passage): SessionGatekeeper {
  const channels = new Map<ChannelInfo, ChannelState>();
  const granted = new Map<ChannelInfo, Granted>();
  const remote = createRemoteForwards(session);
  /** What the target may open channels for, since a client asked for it. */
  const offered = new Set<'x11' | 'auth-agent@openssh.com'>();
  let waiting = 0;

  const { loginUser } = session;
  const deny = (report: SshReport): RequestVerdict => ({
    verdict: 'deny',
    text: reportText(report, session.id),
    exitStatus: DENIED,
  });
  const refuse = (report: SshReport): OpenVerdict => ({
    verdict: 'refuse',
    reason: OpenFailure.ADMINISTRATIVELY_PROHIBITED,
    text: reportLine(report, session.id),
  });

  /** What goes wrong lets nothing pass; when it is the record, nothing passes any more. */
  async function guarded<T>(work: () => Promise<T>, otherwise: (report: SshReport) => T): Promise<T> {
    waiting++;
    try {
      return await work();
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(String(error));
      const report = reportOf(failure);
      // Once the client has been told where it asked.
      if (report.code.startsWith('SPR')) setImmediate(() => session.recordFailed(failure));
      else session.ports.failed(session.id, 'a request could not be decided', failure);
      return otherwise(report);
    } finally {
      waiting--;
    }
  }

  function openChannel(channel: ChannelInfo, purpose: ChannelPurpose): OpenVerdict | Promise<OpenVerdict> {
    if (channel.opener === 'target') return openedByTarget(channel, purpose);
    if (purpose.type === 'session') {
      channels.set(channel, newChannel(channel));
      return { verdict: passage.perCommand === undefined ? 'forward' : 'defer' };
    }
    if (passage.perCommand !== undefined) return refuse(sshError('SPS023', purpose.type));
    const command =
      localForward(purpose, loginUser) ??
      (purpose.type === 'other' && purpose.name === 'tun@openssh.com'
        ? channelCommand('Tunnel', { loginUser })
        : undefined);
    if (command === undefined) {
      return {
        verdict: 'refuse',
        reason: OpenFailure.UNKNOWN_CHANNEL_TYPE,
        text: reportLine(sshError('SPS023', purpose.type === 'other' ? purpose.name : purpose.type), session.id),
      };
    }
    return guarded(async () => {
      const admission = await admitWithoutProgram(session, command, channel.serial);
      if ('report' in admission) return refuse(admission.report);
      const forward = followForward(session, channel.serial, admission.admitted);
      granted.set(channel, forward);
      return { verdict: 'forward', observer: forward.observer, until: forward.until };
    }, refuse);
  }

  function openedByTarget(channel: ChannelInfo, purpose: ChannelPurpose): OpenVerdict {
    const forward = remote.covers(channel, purpose);
    if (forward !== undefined) return { verdict: 'forward', observer: forward.observer, until: forward.until };
    if ((purpose.type === 'x11' || purpose.type === 'auth-agent@openssh.com') && offered.has(purpose.type))
      return { verdict: 'forward' };
    return refuse(sshError('SPS023', purpose.type === 'other' ? purpose.name : purpose.type));
  }

  /** A display or an agent, for the programs of one channel. */
  function offer(call: RequestCall, operation: 'AgentForward' | 'X11Forward'): Promise<RequestVerdict> {
    const fail = (report: SshReport): RequestVerdict => {
      call.note(reportText(report, session.id));
      return { verdict: 'fail' };
    };
    return guarded(async () => {
      if (passage.perCommand !== undefined) return fail(sshError('SPS023', operation));
      const { serial } = call.channel;
      const admission = await admitWithoutProgram(session, channelCommand(operation, { loginUser }), serial, call);
      if ('report' in admission) return fail(admission.report);
      offered.add(operation === 'X11Forward' ? 'x11' : 'auth-agent@openssh.com');
      const state = channels.get(call.channel);
      state?.grants.push(followForward(session, serial, admission.admitted));
      return { verdict: 'forward' };
    }, fail);
  }

  function request(call: RequestCall): RequestVerdict | Promise<RequestVerdict> {
    const { request: asked } = call;
    const state = channels.get(call.channel);
    if (state === undefined) return { verdict: 'fail' };
    switch (asked.type) {
      case 'env':
        if (
          state.started ||
          !PASSED_ENVIRONMENT.test(asked.name) ||
          !PASSED_VALUE.test(asked.value) ||
          asked.value.length > MOST_ENVIRONMENT_BYTES ||
          (state.environment.size >= MOST_VARIABLES && !state.environment.has(asked.name))
        )
          return { verdict: 'fail' };
        state.environment.set(asked.name, asked.value);
        return { verdict: 'forward' };
      case 'pty-req':
        if (state.started) return { verdict: 'fail' };
        state.terminal = { type: asked.term, columns: asked.columns, rows: asked.rows };
        return { verdict: 'forward' };
      case 'auth-agent-req@openssh.com':
        return offer(call, 'AgentForward');
      case 'x11-req':
        return offer(call, 'X11Forward');
      case 'exec':
      case 'shell':
      case 'subsystem':
        return start(call, state, asked);
      case 'other':
        if (asked.name !== 'exec' && asked.name !== 'subsystem') return { verdict: 'fail' };
        return guarded(() => denyUnread(session, state, 'Exec', sshError('SPS009')), deny);
      // Not asked for clients: what they say of a program that runs.
      case 'window-change':
      case 'signal':
      case 'break':
      case 'exit-status':
      case 'exit-signal':
      case 'eow@openssh.com':
      case 'keepalive@openssh.com':
        return { verdict: 'fail' };
      default:
        return asked satisfies never;
    }
  }

  /** One program for each channel (RFC 4254, section 6.5). */
  function start(call: RequestCall, state: ChannelState, asked: ProgramKind): RequestVerdict | Promise<RequestVerdict> {
    if (state.started) return { verdict: 'fail' };
    state.started = true;
    state.interactive = asked.type === 'shell';
    return guarded(() => runProgram(session, passage, state, forTerminal(call, state), asked), deny).then((verdict) =>
      verdict.verdict === 'deny' ? { ...verdict, text: lines(verdict.text, state) } : verdict,
    );
  }

  function globalRequest(asked: GlobalRequest): GlobalVerdict | Promise<GlobalVerdict> {
    if (asked.type === 'no-more-sessions@openssh.com') return { verdict: 'forward' };
    if (asked.type === 'other' || passage.perCommand !== undefined) return { verdict: 'fail' };
    return guarded<GlobalVerdict>(
      async () => ({ verdict: (await remote.request(asked)) === undefined ? 'forward' : 'fail' }),
      () => ({ verdict: 'fail' }),
    );
  }

  return {
    openChannel,
    request,
    globalRequest,
    channelClosed(channel) {
      channels.get(channel)?.close();
      channels.delete(channel);
      granted.get(channel)?.close();
      granted.delete(channel);
    },
    get working() {
      if (waiting > 0) return true;
      for (const { program, interactive } of channels.values()) if (program !== undefined && !interactive) return true;
      return false;
    },
    close() {
      for (const state of channels.values()) state.close();
      for (const forward of granted.values()) forward.close();
      channels.clear();
      granted.clear();
      remote.close();
    },
  };
}
