import type { AccessConnection } from '../../api/resources.ts';
import { apiVersionOf, type OwnerReference } from '../../kube/types.ts';
import { ACCESS_CONNECTIONS } from '../resources.ts';

/** Owner references to connections, sorted. None blocks the deletion of its owner. */
export function ownersOf(connections: readonly AccessConnection[]): OwnerReference[] {
  return connections
    .flatMap(({ metadata: { name, uid } }) =>
      uid === undefined
        ? []
        : [
            {
              apiVersion: apiVersionOf(ACCESS_CONNECTIONS),
              kind: ACCESS_CONNECTIONS.kind,
              name,
              uid,
            },
          ],
    )
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}
