import type { CompiledConnection } from '../../../../policy/bundle.ts';
import type { EffectiveLimits } from '../../../../policy/decision.ts';
import type { BinaryOutput, MaskPlan } from '../../../../policy/masking.ts';
import type { RecordStream } from '../../../../record/port.ts';
import type { ContentDetectors } from '../../../masking/detectors.ts';
import type { Exchange, HeaderFields, UpstreamPool } from '../../http/core/port.ts';
import type { KubernetesReport } from '../errors.ts';

/** The subresources of pods that are streams: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/ */
export const STREAM_SUBRESOURCES = ['exec', 'attach', 'portforward'] as const;
export type StreamKind = (typeof STREAM_SUBRESOURCES)[number];

/** What is used of an exchange of the core. Ended by `answer`, `accept` or `takeOver`. */
export type StreamExchange = Pick<Exchange, 'head' | 'signal' | 'answer' | 'accept' | 'takeOver'>;

/** Where the API server is, and who asks it. */
export interface StreamUpstream {
  readonly pool: Pick<UpstreamPool, 'target' | 'dial'>;
  /** The identity upstream, `authorization` and `impersonate-*`. Asked for once the request is admitted. */
  headers(): Promise<HeaderFields>;
}

/** What a stream asks of the lane before anything passes. */
export interface StreamAsk {
  /**
   * Text for the client while it waits, whole lines: the lane may then hold the request for as long as its rule says. Absent: the client
   * cannot be told anything before it has an answer, so the lane holds it no longer than a plain request.
   */
  readonly note?: (text: string) => void;
  /** Fires when the client gives up. */
  readonly signal: AbortSignal;
  /** Why it cannot be run under the masks in force, in words that complete "denied: …"; asked at each judgement. */
  readonly unmaskable: (masks: MaskPlan) => string | undefined;
  /** `command.received` gets `operation`, `channel`, `argv`, `container` and `terminal` from here: members beginning with a comma. */
  readonly facts: string;
}

/** It is decided, approved where it had to be, and on disk: now it may be forwarded. */
export interface StreamAdmitted {
  readonly seq: number;
  readonly limits: EffectiveLimits;
  /** What is looked for in the output; undefined: it is shown as it is. */
  readonly content: ContentDetectors | undefined;
  readonly binary: BinaryOutput;
  /** Fires when policy does not allow it any more; the reason says why, as `reportOf` reads it. */
  readonly withdrawn: AbortSignal;
  /** People agreed to this one run. */
  readonly granted: boolean;
  /** Of a run that people agreed to: what became of it. Called at most once; without it the outcome is unknown. */
  settle(outcome: 'Executed' | 'Failed'): void;
}

export type StreamAdmission = { readonly admitted: StreamAdmitted } | { readonly denied: KubernetesReport };

/** The session that a stream belongs to. */
export interface StreamSession {
  readonly id: string;
  readonly stream: RecordStream;
  readonly audit: CompiledConnection['audit'];
  /**
   * From what a client asks to what may be forwarded: decided on the policy in force, held until people agree, recorded durably. What is
   * denied is in the record before this returns. The same command has the same identity whatever it is carried by.
   * @throws RecorderError
   */
  admit(ask: StreamAsk): Promise<StreamAdmission>;
  /** For the log: what went wrong where nobody waits for it. */
  failed(what: string, error: Error): void;
}

/**
 * One stream, as the lane hands it over to `serveStream`. Its outcome (`command.executed`, `command.failed`) and `output.chunk` are
 * recorded by the stream.
 */
export interface StreamCall {
  readonly kind: StreamKind;
  readonly namespace: string;
  readonly pod: string;
  readonly exchange: StreamExchange;
  readonly upstream: StreamUpstream;
  readonly session: StreamSession;
}
