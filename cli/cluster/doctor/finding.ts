/** What the doctor says about one thing. */
export interface Diagnosis {
  /** What was looked at, in one word that stays the same: `crds`, `webhook`. */
  readonly check: string;
  /** `unknown`: it may not be looked at by this person. */
  readonly state: 'ok' | 'warning' | 'error' | 'unknown';
  readonly object: string;
  readonly message: string;
  /** How it is mended; for all but `ok`. */
  readonly fix?: string;
}

/** Diagnoses of one check: as few words as the caller can do with. */
export function diagnoses(check: string) {
  return {
    ok: (object: string, message: string): Diagnosis => ({ check, state: 'ok', object, message }),
    warning: (object: string, message: string, fix: string): Diagnosis => ({
      check,
      state: 'warning',
      object,
      message,
      fix,
    }),
    error: (object: string, message: string, fix: string): Diagnosis => ({
      check,
      state: 'error',
      object,
      message,
      fix,
    }),
    unknown: (object: string, right: string): Diagnosis => ({
      ...{ check, state: 'unknown', object, message: 'you may not look at it' },
      fix: `Ask for the right to ${right}, or have somebody run this who has it.`,
    }),
  };
}
