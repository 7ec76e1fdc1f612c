import type { TerminalSize } from '../../../../record/ssh-events.ts';
import type { ChannelInfo } from '../bridge/port.ts';
import type { Granted } from './forwards.ts';
import type { CommandSettings } from './present.ts';

/** A program that was started on a channel. */
export interface Running {
  /** The channel is over, for whatever reason. */
  close(): void;
}

/** What a client has asked for on one session channel so far. */
export interface ChannelState {
  readonly channel: ChannelInfo;
  /** Variables that were passed on. */
  readonly environment: Map<string, string>;
  terminal: (TerminalSize & { readonly type: string }) | undefined;
  /** A program was asked for: there is one for each channel. */
  started: boolean;
  /** It is a shell. */
  interactive: boolean;
  program: Running | undefined;
  /** A display, an agent. */
  readonly grants: Granted[];
  close(): void;
}

export function newChannel(channel: ChannelInfo): ChannelState {
  const state: ChannelState = {
    channel,
    environment: new Map(),
    terminal: undefined,
    started: false,
    interactive: false,
    program: undefined,
    grants: [],
    close() {
      state.program?.close();
      state.program = undefined;
      for (const grant of state.grants.splice(0)) grant.close();
    },
  };
  return state;
}

/** What changes what a program of the channel does. */
export function settingsOf({ environment, terminal }: ChannelState): CommandSettings {
  return { environment, terminal: terminal?.type };
}
