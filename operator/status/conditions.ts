/** Conditions as the Kubernetes API conventions have them (api-conventions.md, "Typical status properties"). */

export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  /** One CamelCase word; docs/operator.md lists them all. */
  readonly reason: string;
  /** A sentence for people: what, about which object, and what to do. */
  readonly message: string;
  readonly observedGeneration?: number;
  readonly lastTransitionTime: string;
}

/** What was found out; when it changed is added when it is compared with what stands there. */
export type Finding = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;

const MAX_MESSAGE = 2048;

export function finding(type: string, status: Condition['status'], reason: string, message: string): Finding {
  const text = message.length <= MAX_MESSAGE ? message : `${message.slice(0, MAX_MESSAGE - 1)}…`;
  return { type, status, reason, message: text };
}

/** The conditions to write: the time stays that of the last change of status. */
export function withTimes(
  findings: readonly Finding[],
  present: readonly Partial<Condition>[],
  generation: number | undefined,
  now: number,
): Condition[] {
  return findings.map((each) => {
    const before = present.find(({ type }) => type === each.type);
    const same = before?.status === each.status && before.lastTransitionTime !== undefined;
    return {
      ...each,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
      lastTransitionTime: same
        ? (before.lastTransitionTime ?? '')
        : new Date(now).toISOString().replace(/\.\d+Z$/, 'Z'),
    };
  });
}

/** Ready: the first that fails, else the first that is not known, else that all is well. */
export function summary(findings: readonly Finding[], counting: readonly string[], well: string): Finding {
  const counted = findings.filter(({ type }) => counting.includes(type));
  const bad = counted.find(({ status }) => status === 'False') ?? counted.find(({ status }) => status === 'Unknown');
  return bad === undefined
    ? finding('Ready', 'True', 'Ready', well)
    : finding('Ready', 'False', bad.reason, bad.message);
}

/** A few names, and how many more there are. */
export function some(names: readonly string[], most = 8): string {
  const shown = names.slice(0, most).join(', ');
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}
