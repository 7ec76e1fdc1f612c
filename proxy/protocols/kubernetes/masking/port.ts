import type { AnswerHead, AnswerMask, HeaderFields } from '../../../masking/body/port.ts';
import type { MaskError } from '../../../masking/errors.ts';
import type { CountMask } from '../../../masking/port.ts';

/** Which objects a request of the Kubernetes API is about: what masking needs of the lane's RequestInfo, which fits as it is. */
export interface ObjectRequest {
  /** `/api` and `/apis` paths that name a resource; false: discovery, version, health, anything else. */
  readonly isResourceRequest: boolean;
  readonly path: string;
  /** As RequestInfo says: get, list, watch, create, update, patch, delete, deletecollection, connect ... */
  readonly verb: string;
  /** '' is the core group; so for namespace, name and subresource where there is none. */
  readonly apiGroup: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
}

/** As in the URL; '' where there is none. */
export interface ObjectSelectors {
  readonly fieldSelector: string;
  readonly labelSelector: string;
}

/** As JSON: an object as it is and as it would be, and what a client wrote to change it. */
export interface ObjectChange {
  readonly before: unknown;
  readonly after: unknown;
  readonly said: unknown;
}

/** Everything that is masked in the API of one cluster for one subject. Made once per bundle. */
export interface ObjectMasks {
  /** True when nothing is masked: then none of the other members changes anything. */
  readonly empty: boolean;
  /**
   * True when a table of these objects can only be masked when its rows hold the whole objects: the lane then asks for
   * `includeObject=Object`. Without it cells that could show a masked value are masked all the same, blindly.
   */
  wantsObjectsInTables(request: ObjectRequest): boolean;
  /** Whether a selector compares a masked value: its answer would say whether it was guessed. */
  selects(request: ObjectRequest & ObjectSelectors): MaskError | undefined;
  /** Whether some rule is about such objects, or about what may stand in them. */
  isAbout(request: ObjectRequest): boolean;
  /** Whether a value that is masked in an object stands where it is not masked once the object is changed. */
  reveals(change: ObjectChange, request: ObjectRequest): MaskError | undefined;
  /** As BodyMasks.request. */
  request(headers: HeaderFields): HeaderFields;
  /**
   * A whole document of the API, such as what a dry run says before a person sees it. It may hold any object.
   * @throws MaskError SPM009 it is no JSON
   */
  document(body: Buffer, request: ObjectRequest, count: CountMask): Buffer;
  /** How an answer is masked; JSON, tables, lists, watches and logs. Protobuf is refused: the lane asks for JSON. */
  answer(head: AnswerHead, request: ObjectRequest, count: CountMask): AnswerMask;
  /**
   * Whether what a client sends holds what came from masking (a token; the mark of a redacted value in a place that is masked), or moves a
   * masked value to where it is not (JSON patch copy, move, test).
   * @param body the whole body, JSON or YAML or protobuf
   * @param contentType as sent
   */
  write(body: Buffer, contentType: string | undefined, request: ObjectRequest): MaskError | undefined;
}
