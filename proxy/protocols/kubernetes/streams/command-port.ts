import type { ProgramStream } from '../../../recording/output-stage.ts';
import type { TerminalSize } from './terminal-size.ts';

/** A client that runs a command in a container, or is attached to one, whatever carries it. */
export interface CommandClient {
  /** Resolves when more may be shown. The bytes are copied before this returns. */
  output(stream: ProgramStream, bytes: Buffer): Promise<void> | undefined;
  /** The last that it is told: a `metav1.Status` in JSON. Then the connection ends. */
  finish(status: Buffer): void;
  /** A sign of life, for a client that is not read for long. */
  heartbeat(): void;
  destroy(): void;
}

export interface CommandClientHandlers {
  /** Nothing else comes until the promise resolves. */
  stdin(bytes: Buffer): Promise<void> | undefined;
  stdinEnd(): void;
  resize(size: TerminalSize): void;
  /** The connection is over, for whatever reason. */
  closed(error: Error | undefined): void;
}

/** The same command on the side of the API server. */
export interface CommandUpstream {
  /** Resolves when it may be sent more. */
  stdin(bytes: Buffer): Promise<void> | undefined;
  stdinEnd(): void;
  resize(size: TerminalSize): void;
  close(): void;
}

export interface CommandUpstreamHandlers {
  output(stream: ProgramStream, bytes: Buffer): Promise<void> | undefined;
  /** What the error channel says, in the pieces in which it comes. */
  status(bytes: Buffer): void;
  closed(error: Error | undefined): void;
}

/** Channels of remotecommand over WebSocket: https://pkg.go.dev/k8s.io/apimachinery/pkg/util/remotecommand */
export const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, status: 3, resize: 4, close: 255 } as const;

/** A message of a channel. */
export function channelMessage(channel: number, bytes: ArrayLike<number>): Buffer {
  const message = Buffer.allocUnsafe(bytes.length + 1);
  message[0] = channel;
  message.set(bytes, 1);
  return message;
}
