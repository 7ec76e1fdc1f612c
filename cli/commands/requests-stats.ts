import type { ApprovalRequest } from '../../api/resources.ts';
import { stateOf } from '../../approval/state.ts';
import { neutralise } from '../../record/display.ts';
import { table } from '../table.ts';
import { ruleOf } from './requests-format.ts';
import { duration } from './sessions-format.ts';

/** What a rule asked of people: whether it is worth its interruptions. */
export interface RuleStatistics {
  readonly rule: string;
  readonly asked: number;
  readonly approved: number;
  readonly denied: number;
  readonly expired: number;
  readonly withdrawn: number;
  /** Not decided yet. */
  readonly open: number;
  /** Median of the milliseconds from the request to its decision. */
  readonly medianMs?: number;
  /** Approved, of those that people decided. */
  readonly shareApproved?: number;
}

type Outcome = 'approved' | 'denied' | 'expired' | 'withdrawn' | 'open';

function outcomeOf(request: ApprovalRequest): Outcome {
  const state = stateOf(request);
  switch (state) {
    case 'Approved':
    case 'Consumed':
    case 'Executed':
    case 'Failed':
      return 'approved';
    case 'Denied':
      return 'denied';
    case 'Expired':
      return 'expired';
    case 'Withdrawn':
      return 'withdrawn';
    case 'Pending':
    case 'Orphaned':
      return 'open';
    default: {
      const never: never = state;
      throw new Error(`request in unknown state ${String(never)}`);
    }
  }
}

function median(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.floor((sorted.length - 1) / 2)];
  return upper === undefined || lower === undefined ? undefined : (upper + lower) / 2;
}

/** By rule, the one that asked most first. A request of two rules counts for both. */
export function ruleStatistics(requests: readonly ApprovalRequest[]): RuleStatistics[] {
  const byRule = new Map<string, ApprovalRequest[]>();
  for (const request of requests) {
    for (const rule of new Set(request.spec.requirements.map(ruleOf))) {
      byRule.set(rule, [...(byRule.get(rule) ?? []), request]);
    }
  }
  return [...byRule]
    .map(([rule, all]) => {
      const count = (outcome: Outcome): number => all.filter((request) => outcomeOf(request) === outcome).length;
      const times = all.flatMap(({ metadata, status }) =>
        status?.decidedTime === undefined
          ? []
          : [Date.parse(status.decidedTime) - Date.parse(metadata.creationTimestamp ?? '')],
      );
      const medianMs = median(times.filter((time) => time >= 0));
      const [approved, denied] = [count('approved'), count('denied')];
      return {
        rule,
        asked: all.length,
        approved,
        denied,
        expired: count('expired'),
        withdrawn: count('withdrawn'),
        open: count('open'),
        ...(medianMs === undefined ? {} : { medianMs }),
        ...(approved + denied === 0 ? {} : { shareApproved: approved / (approved + denied) }),
      };
    })
    .sort((a, b) => b.asked - a.asked || (a.rule < b.rule ? -1 : 1));
}

export function statisticsTable(all: readonly RuleStatistics[]): string {
  const head = ['RULE', 'ASKED', 'APPROVED', 'DENIED', 'EXPIRED', 'WITHDRAWN', 'OPEN', 'MEDIAN', 'SHARE APPROVED'];
  const rows = all.map(({ rule, asked, approved, denied, expired, withdrawn, open, medianMs, shareApproved }) => [
    neutralise(rule),
    ...[asked, approved, denied, expired, withdrawn, open].map(String),
    medianMs === undefined ? '-' : duration(medianMs * 1000),
    shareApproved === undefined ? '-' : `${Math.round(shareApproved * 100)} %`,
  ]);
  return table([head, ...rows]);
}
