/** As much of a pod as injection looks at. The rest travels through untouched. */

export interface Named {
  readonly name: string;
  readonly [field: string]: unknown;
}

export interface EnvVar extends Named {
  readonly value?: string;
}

export interface VolumeMount extends Named {
  readonly mountPath: string;
}

export interface Container extends Named {
  readonly image?: string;
  readonly env?: readonly EnvVar[];
  readonly volumeMounts?: readonly VolumeMount[];
  readonly restartPolicy?: string;
  readonly securityContext?: {
    readonly privileged?: boolean;
    readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] };
    readonly [field: string]: unknown;
  };
}

export interface HostAlias {
  readonly ip: string;
  readonly hostnames?: readonly string[];
}

export interface Sysctl {
  readonly name: string;
  readonly value: string;
}

export interface Pod {
  readonly metadata: {
    readonly name?: string;
    readonly generateName?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly [field: string]: unknown;
  };
  readonly spec: {
    readonly containers: readonly Container[];
    readonly initContainers?: readonly Container[];
    readonly volumes?: readonly Named[];
    readonly hostAliases?: readonly HostAlias[];
    readonly hostNetwork?: boolean;
    readonly hostPID?: boolean;
    readonly shareProcessNamespace?: boolean;
    readonly os?: { readonly name?: string };
    readonly securityContext?: { readonly sysctls?: readonly Sysctl[]; readonly [field: string]: unknown };
    readonly [field: string]: unknown;
  };
  readonly [field: string]: unknown;
}

type Json = Readonly<Record<string, unknown>>;

const isRecord = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const optional = (value: unknown, check: (value: unknown) => boolean): boolean =>
  value === undefined || value === null || check(value);
const listOf = (check: (value: Json) => boolean) => (value: unknown) =>
  Array.isArray(value) && value.every((one) => isRecord(one) && check(one));
const isText = (value: unknown): boolean => typeof value === 'string';
const isNamed = (value: Json): boolean => isText(value['name']);
const isTexts = (value: unknown): boolean => Array.isArray(value) && value.every(isText);
const isTextMap = (value: unknown): boolean => isRecord(value) && Object.values(value).every(isText);

function isContainer(value: Json): boolean {
  const security = value['securityContext'];
  const capabilities = isRecord(security) ? security['capabilities'] : undefined;
  return (
    isNamed(value) &&
    optional(value['env'], listOf(isNamed)) &&
    optional(
      value['volumeMounts'],
      listOf((mount) => isNamed(mount) && isText(mount['mountPath'])),
    ) &&
    optional(security, isRecord) &&
    optional(capabilities, (set) => isRecord(set) && optional(set['add'], isTexts))
  );
}

/** The API server has decoded it before, so that this is about a webhook asked for the wrong thing. */
export function isPod(value: unknown): value is Pod {
  if (!isRecord(value) || !isRecord(value['metadata']) || !isRecord(value['spec'])) return false;
  const { metadata, spec } = value as { metadata: Json; spec: Json };
  const security = spec['securityContext'];
  return (
    value['kind'] === 'Pod' &&
    optional(metadata['labels'], isTextMap) &&
    optional(metadata['annotations'], isTextMap) &&
    listOf(isContainer)(spec['containers']) &&
    optional(spec['initContainers'], listOf(isContainer)) &&
    optional(spec['volumes'], listOf(isNamed)) &&
    optional(spec['os'], isRecord) &&
    optional(
      spec['hostAliases'],
      listOf((alias) => isText(alias['ip']) && optional(alias['hostnames'], isTexts)),
    ) &&
    optional(security, isRecord) &&
    optional(isRecord(security) ? security['sysctls'] : undefined, listOf(isNamed))
  );
}
