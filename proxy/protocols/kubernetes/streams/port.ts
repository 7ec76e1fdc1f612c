import type { Duplex } from 'node:stream';
import type { ConnectionOptions } from 'node:tls';
import type { CompiledConnection } from '../../../../policy/bundle.ts';
import type { EffectiveLimits } from '../../../../policy/decision.ts';
import type { BinaryOutput, MaskPlan } from '../../../../policy/masking.ts';
import type { RecordStream } from '../../../../record/port.ts';
import type { ContentDetectors } from '../../../masking/detectors.ts';

/** The subresources of pods that are streams: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/ */
export const STREAM_SUBRESOURCES = ['exec', 'attach', 'portforward'] as const;
export type StreamKind = (typeof STREAM_SUBRESOURCES)[number];

export type HeaderPairs = readonly (readonly [name: string, value: string])[];

/** One request for a stream, of a caller who is known. */
export interface StreamExchange {
  /** In lower case: `websocket`, `spdy/3.1`; undefined: the client asks for no upgrade. */
  readonly upgrade: string | undefined;
  /** By its name in lower case, several joined by `, `. `sec-websocket-*` and `x-stream-protocol-version` are among them. */
  header(name: string): string | undefined;
  /** Decoded, in order. */
  readonly query: readonly (readonly [name: string, value: string])[];
  /** The client left, its identity ended, the process stops. */
  readonly signal: AbortSignal;
  /** A plain answer: nothing is upgraded. */
  answer(status: number, headers: HeaderPairs, body: Buffer | string): Promise<void>;
  /**
   * Answers 101 with these headers, `upgrade` and `connection` among them, and gives the raw connection: what the client sent after its
   * head is the first that is read of it.
   */
  accept(headers: HeaderPairs): Promise<Duplex>;
}

/** Where the API server is, and who asks it. */
export interface StreamUpstream {
  /** `https://HOST:PORT`, without a path. */
  readonly origin: string;
  readonly tls: ConnectionOptions;
  /** The identity upstream: Authorization, Impersonate-*. Asked for once the request is admitted. */
  headers(): Promise<HeaderPairs>;
  /** Until the API server has answered, in milliseconds. */
  readonly timeoutMs: number;
}

/** What the client is told, whoever says it: a code of ours, words, and what to do. */
export interface StreamReport {
  readonly code: string;
  readonly message: string;
  /** Such as the rule that decided. */
  readonly detail?: string;
  readonly hint: string;
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
  /** More members of `command.received`, beginning with a comma. */
  readonly facts: string;
}

/** It is decided, approved where it had to be, and on disk: now it may be forwarded. */
export interface StreamAdmitted {
  readonly seq: number;
  readonly limits: EffectiveLimits;
  /** What is looked for in the output; undefined: it is shown as it is. */
  readonly content: ContentDetectors | undefined;
  readonly binary: BinaryOutput;
  /** People agreed to this one run. */
  readonly granted: boolean;
  /** Of a run that people agreed to: what became of it. Called once; without it the outcome is unknown. */
  settle(outcome: 'Executed' | 'Failed'): void;
}

export interface StreamDenied {
  readonly report: StreamReport;
  /** As a plain answer: 403, or 429 with `retryAfterSeconds` for what waits for people. */
  readonly status: number;
  readonly retryAfterSeconds?: number;
}

export type StreamAdmission = { readonly admitted: StreamAdmitted } | { readonly denied: StreamDenied };

/** The session that a stream belongs to. */
export interface StreamSession {
  readonly id: string;
  readonly record: RecordStream;
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

/** One stream, as the lane hands it over. */
export interface StreamCall {
  readonly kind: StreamKind;
  readonly namespace: string;
  readonly pod: string;
  readonly exchange: StreamExchange;
  readonly upstream: StreamUpstream;
  readonly session: StreamSession;
}
