import { ArchiveError } from './errors.ts';
import { ARCHIVE_DESTINATION, type Destination, Rewound, StreamRefused } from './follow/destination.ts';
import { type ArchiveStore, OutOfPlace } from './store/store.ts';

/** The proxy that writes when archive and gateway are one process. */
export const LOCAL_PROXY = 'local';

/** The archive in the same process, in another folder: the same store without a network before it. */
export function localArchive(store: ArchiveStore): Destination {
  return {
    name: ARCHIVE_DESTINATION,
    maxBatchBytes: 1024 * 1024,
    lingerMs: 0,
    async deliver({ segment, offset, bytes }) {
      try {
        await store.append(LOCAL_PROXY, segment.namespace, segment.name, segment.file, offset, bytes);
      } catch (error) {
        if (error instanceof OutOfPlace) throw new Rewound(error.size);
        if (error instanceof ArchiveError && ['SPH001', 'SPH003', 'SPH005', 'SPH006'].includes(error.code)) {
          throw new StreamRefused(error.message, { cause: error });
        }
        throw error;
      }
    },
    close() {},
  };
}
