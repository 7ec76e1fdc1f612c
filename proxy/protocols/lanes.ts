import type { Lane, LaneContext } from '../lane.ts';
import { createHttpProtocol } from './http/protocol.ts';
import { createKubernetesProtocol } from './kubernetes/protocol.ts';
import { createPostgresProtocol } from './postgres/protocol.ts';
import { createSshProtocol } from './ssh/protocol.ts';

/** Every protocol that this proxy speaks. */
export function createLanes(context: LaneContext): readonly Lane[] {
  return [
    createPostgresProtocol(context),
    createSshProtocol(context),
    createKubernetesProtocol(context),
    createHttpProtocol(context),
  ];
}
