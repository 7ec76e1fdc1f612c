import type { SshCommand, SshTransfer } from '../../../../policy/command.ts';
import type { MaskPlan } from '../../../../policy/masking.ts';
import { fileCommand } from '../../../../policy/ssh/commands.ts';
import { fileClosed, fileDenied, fileOperation, type SshOutcome } from '../../../../record/ssh-events.ts';
import type { TextMasker } from '../../../masking/stream/port.ts';
import { createTextMasker } from '../../../masking/stream/text-masker.ts';
import type { ChannelOutlet, ChannelOwner, ChannelRequest, OwnChannel, Side } from '../bridge/port.ts';
import { reportLine, reportOf, reportText, sshError, words } from '../errors.ts';
import { protectedFile } from '../output/unmaskable.ts';
import { createScpSession } from '../scp/session.ts';
import { fileErrorText } from '../sftp/errors.ts';
import type {
  FileAccessTo,
  FileGrant,
  FileJudge,
  FileOutcome,
  FileRequest,
  FileSession,
  FileVerdict,
} from '../sftp/port.ts';
import { createSftpSession } from '../sftp/session.ts';
import type { ChannelState } from './channel.ts';
import type { Program } from './program.ts';
import { type Admitted, admitCommand, type Recording } from './run.ts';
import type { Session } from './session.ts';
import type { Verdict } from './verdict.ts';

const ABORTED_STATUS = 126;
const NO_SETTINGS = { environment: new Map<string, string>(), terminal: undefined };

function commandOf(session: Session, protocol: string, { operation, accesses, detail }: FileRequest): SshCommand {
  // Of two paths with a space in one of them it has to be clear which: approvals are bound to this text.
  const paths = accesses.map(({ path }) => (/^[^\s"()]+$/.test(path) ? path : JSON.stringify(path))).join(' ');
  const more = detail === undefined ? '' : ` (${detail})`;
  const files = accesses.map(({ access, path, tree }) => ({
    operation: access,
    path,
    ...(tree === undefined ? {} : { tree }),
  }));
  return fileCommand(`${protocol} ${operation} ${paths}${more}`, files, { loginUser: session.loginUser });
}

/** The judgement of each request of a file protocol, as its lane asks for it. */
export function createFileJudge(
  session: Session,
  { channel }: ChannelState,
  protocol: SshTransfer['type'],
  tell: (line: string) => void,
): FileJudge {
  const { record } = session;

  const eventOf = ({ operation, accesses, detail }: FileRequest, { decision }: Verdict) => ({
    channel: channel.serial,
    operation,
    user: session.loginUser,
    accesses,
    ...(detail === undefined ? {} : { detail }),
    decision,
  });

  function recordingOf(request: FileRequest): Recording {
    return {
      received(seq, verdict) {
        record.event('file.operation', fileOperation(record.session, seq, eventOf(request, verdict), record.level));
      },
      denied(seq, verdict, { code, message }) {
        const event = { ...eventOf(request, verdict ?? judged(request)), code, message };
        record.fileDenied(fileDenied(record.session, seq, event, record.level));
      },
    };
  }

  const judged = (request: FileRequest): Verdict => session.judge(commandOf(session, protocol, request));

  /** What became of it, where there is something to say. */
  function closed(
    seq: number,
    { status, bytesRead, bytesWritten, sha256, interrupted }: FileOutcome,
    masked?: ReadonlyMap<string, number>,
  ): void {
    const moved = bytesRead !== undefined || bytesWritten !== undefined;
    if (status === 0 && !moved && interrupted !== true) return;
    const event = {
      ...(status === undefined ? {} : { status }),
      ...(bytesRead === undefined ? {} : { bytesRead }),
      ...(bytesWritten === undefined ? {} : { bytesWritten }),
      ...(sha256 === undefined ? {} : { sha256 }),
      ...(interrupted === undefined ? {} : { interrupted }),
      ...(masked === undefined ? {} : { masked }),
    };
    record.event('file.closed', fileClosed(record.session, seq, event));
  }

  /** One access that may be had is enough to be told that something is there. */
  function narrowed(request: FileRequest): FileRequest {
    if (request.metadata !== true) return request;
    const [first] = request.accesses;
    const known = request.accesses.find((access) => permits(access) !== 'Deny') ?? first;
    return known === undefined ? request : { ...request, accesses: [known] };
  }

  function permits(access: FileAccessTo): 'Allow' | 'RequireApproval' | 'Deny' {
    return judged({ operation: 'stat', accesses: [access] }).decision.verdict;
  }

  async function noted(request: FileRequest, verdict: Verdict): Promise<number> {
    const seq = session.nextCommand();
    recordingOf(request).received(seq, verdict);
    await record.stream.sync();
    return seq;
  }

  async function judge(asked: FileRequest, signal: AbortSignal): Promise<FileVerdict> {
    const gone = await session.refresh();
    if (gone !== undefined) return { granted: false, message: reportLine(gone, session.id) };
    const request = narrowed(asked);
    const verdict = judged(request);
    if (asked.metadata === true && verdict.denial === undefined && session.suspended() === undefined) {
      const seq = await noted(request, verdict);
      return { granted: true, held: false, changed: () => undefined, done: (outcome) => closed(seq, outcome) };
    }
    const admission = await admitCommand(session, {
      command: verdict.command,
      facts: { channel: channel.serial, operation: asked.operation, user: session.loginUser },
      settings: NO_SETTINGS,
      note: (text) => tell(text),
      signal,
      unmaskable: (masks) => whyWithheld(request, masks),
      recording: recordingOf(request),
    });
    if ('report' in admission) return { granted: false, message: reportLine(admission.report, session.id) };
    return grantOf(admission.admitted, request);
  }

  function grantOf({ seq, limits, held, grant }: Admitted, request: FileRequest): FileGrant {
    const masked = new Map<string, number>();
    const masker = maskerFor(session, request, masked);
    const { content } = session.masks;
    let { bundle } = session;

    /** Under another policy: whether the very same request would be granted, and shown in the same way. */
    async function again(): Promise<string | undefined> {
      const gone = await session.refresh();
      if (gone !== undefined) return reportLine(gone, session.id);
      const { denial, needsApproval } = judged(request);
      const withheld = whyWithheld(request, session.judgement.scope.masks);
      // What is looked for may be something else now.
      const masks = reads(request) && session.masks.content !== content;
      const report =
        denial ??
        session.suspended() ??
        (withheld === undefined ? undefined : sshError('SPS001', withheld)) ??
        ((needsApproval && !held) || masks
          ? { code: 'SPS079', message: fileErrorText('SPS079'), hint: '' }
          : undefined);
      if (report !== undefined) return reportLine(report, session.id);
      ({ bundle } = session);
      return undefined;
    }

    return {
      granted: true,
      held,
      ...(limits.maxBytesReturned === undefined ? {} : { maxBytesReturned: limits.maxBytesReturned }),
      ...(masker === undefined ? {} : { masker }),
      changed: () => (session.ports.bundles.current() === bundle ? undefined : again()),
      done(outcome) {
        closed(seq, outcome, masked);
        if (grant !== undefined && outcome.status !== undefined)
          session.holding.settle(grant, outcome.status <= 1 ? 'Executed' : 'Failed');
      },
    };
  }

  return {
    judge,
    permits,
    protects: ({ path, tree }) => session.judgement.scope.masks.file(path, tree === true) !== undefined,
    async note(request) {
      const seq = await noted(request, judged(request));
      return (outcome) => closed(seq, outcome);
    },
    // Lines of reports begin with our name already.
    tell: (line) => tell(words(line.replace(/^sallyport: /, ''))),
  };
}

/** Requests by which contents of a file come to the client, or go where they could be read from. */
const READS: ReadonlySet<string> = new Set(['open', 'send', 'copy-data']);

function reads({ operation, accesses }: FileRequest): boolean {
  return READS.has(operation) && accesses.some(({ access }) => access === 'ReadFile');
}

/** Why contents of a file are not read at all. */
function whyWithheld({ operation, accesses }: FileRequest, masks: MaskPlan): string | undefined {
  if (!READS.has(operation)) return undefined;
  for (const { access, path, tree } of accesses) {
    const of = access === 'ReadFile' ? masks.file(path, tree === true) : undefined;
    if (of?.action === 'Deny') return protectedFile(path, of.rules);
  }
  return undefined;
}

/** Whatever is looked for in the output of commands is looked for in files, too: one channel is not safer than the other. */
function maskerFor(
  session: Session,
  request: FileRequest,
  counts: Map<string, number>,
): (() => TextMasker) | undefined {
  const { content: detectors } = session.masks;
  if (detectors === undefined || !reads(request)) return undefined;
  const binary = session.judgement.scope.masks.binaryOutput;
  const count = (name: string): void => void counts.set(name, (counts.get(name) ?? 0) + 1);
  return () => createTextMasker({ detectors, binary, count });
}

/** Follows a program that speaks a file protocol: its requests are decided one by one. */
export function followFiles(
  session: Session,
  state: ChannelState,
  { seq, grant }: Admitted,
  transfer: SshTransfer,
): Program {
  const startedAt = performance.now();
  let ending: Pick<SshOutcome, 'exit' | 'signal' | 'coreDumped'> = {};
  let outlet: ChannelOutlet | undefined;
  let files: FileSession | undefined;
  let code: string | undefined;
  let over = false;

  function abort(error: unknown): void {
    const failure = error instanceof Error ? error : new Error(String(error));
    const report = reportOf(failure);
    if (report.code.startsWith('SPR')) session.recordFailed(failure);
    else session.ports.failed(session.id, 'a file transfer was ended', failure);
    code ??= report.code;
    files?.close();
    outlet?.abort(reportText(report, session.id), ABORTED_STATUS);
  }

  async function take(work: () => Promise<void> | undefined): Promise<void> {
    if (code !== undefined) return;
    try {
      await work();
    } catch (error) {
      if (code === undefined && !over) abort(error);
    }
  }

  const own: OwnChannel = (given) => {
    outlet = given;
    const judge = createFileJudge(session, state, transfer.type, (text) => {
      void given.send('client', 'stderr', Buffer.from(text, 'utf8'));
    });
    const streams = {
      judge,
      toClient: (bytes: Buffer) => sent(given.send('client', 'data', bytes)),
      toServer: (bytes: Buffer) => sent(given.send('target', 'data', bytes)),
    };
    const made = transfer.type === 'sftp' ? createSftpSession(streams) : createScpSession({ ...streams, ...transfer });
    files = made;
    const owner: ChannelOwner = {
      data(piece, from, stream) {
        if (stream === 'stderr') return given.send('client', 'stderr', piece);
        return take(() => (from === 'client' ? made.fromClient(piece) : made.fromServer(piece)));
      },
      end(from) {
        // It answers nothing any more.
        if (from === 'target') made.close();
      },
      withdrawn: () => made.close(),
      request(asked: ChannelRequest, from: Side) {
        if (from !== 'target') return;
        if (asked.type === 'exit-status') ending = { exit: asked.status };
        if (asked.type === 'exit-signal') ending = { signal: asked.name, coreDumped: asked.coreDumped };
      },
    };
    return owner;
  };

  return {
    forward: { own },
    close() {
      if (over) return;
      over = true;
      files?.close();
      session.record.ended(seq, {
        channel: state.channel.serial,
        ...ending,
        ...(code === undefined ? {} : { code }),
        durationMicros: (performance.now() - startedAt) * 1000,
      });
      if (grant !== undefined) session.holding.settle(grant, code === undefined ? 'Executed' : 'Failed');
    },
  };
}

const sent = (waiting: void | Promise<void>): Promise<void> | undefined =>
  waiting instanceof Promise ? waiting : undefined;
