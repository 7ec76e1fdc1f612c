import type { CompiledConnection } from '../../../policy/bundle.ts';
import type { LaneContext } from '../../lane.ts';
import type { HttpSession, Upstreams } from '../http/core/port.ts';
import type { AdmissionPorts } from './admission/admit.ts';
import type { LongRequests } from './long-requests.ts';
import type { SubjectMasks } from './masks.ts';
import type { Discovery } from './meaning/port.ts';
import type { SignIns } from './upstream/sign-in.ts';

/** What requests need from outside; the same for all of a process. */
export interface KubernetesPorts extends AdmissionPorts, Pick<LaneContext, 'syncReads'> {
  readonly signIns: SignIns;
  readonly upstreams: Upstreams;
  readonly long: LongRequests;
  masks(session: HttpSession): Promise<SubjectMasks>;
  discovery(connection: CompiledConnection): Discovery;
}
