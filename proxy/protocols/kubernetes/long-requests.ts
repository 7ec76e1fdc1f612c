import { isDeepStrictEqual } from 'node:util';
import type { KubernetesCommand } from '../../../policy/command.ts';
import type { MaskPlan } from '../../../policy/masking.ts';
import { covers } from '../../approval/holding.ts';
import type { BundleSource } from '../../ports.ts';
import type { HttpReport } from '../http/core/errors.ts';
import type { AnswerControl, Exchange, HttpSession } from '../http/core/port.ts';
import { judge } from './admission/admit.ts';
import type { Verdict } from './admission/verdict.ts';
import { type KubernetesReport, kubernetesError, Refused } from './errors.ts';
import { watchEnd } from './status.ts';
import { streamError } from './streams/errors.ts';

/**
 * What goes on: watches, logs that are followed, commands, forwarded ports. A change of policy applies to them when it comes, not when they
 * happen to end. What is not allowed any more ends and says why; what may be masked another way now ends too, and the client of a watch
 * begins anew where it was, as it does when an API server ends one.
 */
export interface LongRequests {
  begin(request: LongRequestInit): LongRequest;
  /** A stream that was admitted, until it is closed. */
  follow(stream: FollowedInit): Followed;
  /** The bundle in force is another: every answer under way is judged again. */
  changed(): void;
  close(): void;
}

export interface LongRequestInit {
  readonly exchange: Exchange;
  readonly command: KubernetesCommand;
  readonly verdict: Verdict;
}

export interface FollowedInit {
  readonly session: HttpSession;
  readonly verdict: Verdict;
  /** Why it cannot be carried under masks, in words that complete "denied: …". */
  readonly unmaskable: (masks: MaskPlan) => string | undefined;
}

export interface Followed {
  /** Fires once policy does not allow it any more; the reason is a `Refused`. */
  readonly withdrawn: AbortSignal;
  close(): void;
}

export interface LongRequest {
  /** For `ForwardRequest.onBegin`. */
  readonly began: (answer: AnswerControl) => void;
  /** Bytes as the client gets them. */
  sent(chunk: Buffer): void;
  /** Why it was ended from here. */
  readonly ended: KubernetesReport | undefined;
  end(report: KubernetesReport): void;
  close(): void;
}

const LINE_FEED = 0x0a;
/** The watch simply ends, as it does when an API server has had enough of it. */
const NOTHING = Buffer.alloc(0);

export function createLongRequests(bundles: Pick<BundleSource, 'onChange'>): LongRequests {
  const open = new Set<{ look(): void }>();
  const changed = (): void => {
    for (const each of [...open]) each.look();
  };
  const unsubscribe = bundles.onChange(changed);

  return {
    changed,
    close: unsubscribe,
    follow({ session, verdict, unmaskable }) {
      const withdrawing = new AbortController();
      const { content } = session.scope.masks;
      const entry = {
        look(): void {
          // A session that has lost its right to be here ends with all that is in it.
          if (session.refresh() !== undefined) return;
          const why = whyNoMore(judge(session, verdict.command), verdict) ?? unmasked(session.scope.masks);
          if (why === undefined) return;
          open.delete(entry);
          withdrawing.abort(new Refused(why));
        },
      };
      /** What it shows is masked as it was when it began. */
      function unmasked(masks: MaskPlan): KubernetesReport | undefined {
        const why = unmaskable(masks);
        if (why !== undefined) return streamError('SPL107', why);
        return isDeepStrictEqual(masks.content, content)
          ? undefined
          : streamError('SPL107', 'what is masked has changed', { hint: 'Run it again.' });
      }
      open.add(entry);
      return { withdrawn: withdrawing.signal, close: () => void open.delete(entry) };
    },
    begin({ exchange, command, verdict }) {
      const { session } = exchange;
      const watches = command.statements.some(({ verb }) => verb === 'watch');
      const masked = !session.scope.masks.empty;
      let answer: AnswerControl | undefined;
      let ended: KubernetesReport | undefined;
      /** Between two events: only there another can stand. */
      let between = true;

      function end(report: KubernetesReport): void {
        if (ended !== undefined) return;
        ended = report;
        const last = watches && between ? Buffer.from(watchEnd(report, session.id)) : NOTHING;
        const concluded = watches && answer?.conclude(last) === true;
        if (!concluded) answer?.stop(httpReport(report));
      }

      /** A new beginning, without a word: the client goes on where it was. */
      function beginAnew(): void {
        if (ended !== undefined || answer === undefined) return;
        ended = kubernetesError('SPL022', 'what is masked has changed');
        if (!watches || !answer.conclude(NOTHING)) answer.stop(httpReport(ended));
      }

      function look(): void {
        // A session that has lost its right to be here ends with all that is in it.
        if (session.refresh() !== undefined) return;
        const now = judge(session, command);
        if (now.decision.verdict !== 'Allow' && verdict.decision.verdict === 'Allow') {
          const why = now.denial ?? kubernetesError('SPL002', 'policy asks for it now');
          end({
            ...kubernetesError('SPL022', why.message),
            ...(why.detail === undefined ? {} : { detail: why.detail }),
            hint: why.hint,
          });
        } else if (now.denial !== undefined)
          end(kubernetesError('SPL022', now.denial.message, { hint: now.denial.hint }));
        else if (masked || !session.scope.masks.empty) beginAnew();
      }

      const entry = { look };
      open.add(entry);
      return {
        began(control) {
          answer = control;
          // Policy, or its time, may have ended it before it had begun.
          if (ended !== undefined) control.stop(httpReport(ended));
        },
        sent(chunk) {
          between = chunk.at(-1) === LINE_FEED;
        },
        get ended() {
          return ended;
        },
        end,
        close: () => void open.delete(entry),
      };
    },
  };
}

/** Why a stream may not go on; undefined: it may. What people agreed to goes on for as long as nobody else has to agree. */
function whyNoMore(now: Verdict, { decision }: Verdict): KubernetesReport | undefined {
  if (now.denial !== undefined) {
    const { message, detail, hint } = now.denial;
    return streamError('SPL107', message, { hint, ...(detail === undefined ? {} : { detail }) });
  }
  return covers(decision.requirements, now.decision.requirements)
    ? undefined
    : streamError('SPL107', 'it needs approval now', { hint: 'Ask again.' });
}

const httpReport = ({ code, status, message, hint }: KubernetesReport): HttpReport => ({ code, status, message, hint });
