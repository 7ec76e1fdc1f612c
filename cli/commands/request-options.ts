import { type Command, Option } from 'commander';
import { OUTPUTS, type Output } from '../output.ts';
import type { PlaceOptions } from '../places/place-options.ts';
import type { RequestPlace } from '../places/requests.ts';

/** Options of everything that is about requests for approval. */
export interface RequestOptions extends PlaceOptions {
  readonly output: Output;
}

export function withRequestOptions(command: Command, place: RequestPlace): Command {
  return place
    .options(command)
    .addOption(new Option('-o, --output <format>', 'output format').choices(OUTPUTS).default('text'));
}
