/** Pod Security "restricted", and nothing written outside the volumes. 65532 is the image's own user. */
export const POD_SECURITY = {
  runAsNonRoot: true,
  runAsUser: 65532,
  runAsGroup: 65532,
  fsGroup: 65532,
  seccompProfile: { type: 'RuntimeDefault' },
} as const;

export const CONTAINER_SECURITY = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
} as const;

/** Said although it is the default: what somebody else adds here is found and taken back. */
export const NOT_OF_THE_NODE = {
  hostNetwork: false,
  hostPID: false,
  hostIPC: false,
  shareProcessNamespace: false,
} as const;

/** Mode of mounted keys: read by the group, which is the pod's. */
export const KEY_MODE = 0o440;
