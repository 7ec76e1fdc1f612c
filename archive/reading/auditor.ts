/** Who reads the record, and the port through which an API server says so. */

/** A user as the API server knows it: what a SubjectAccessReview asks about. */
export interface Auditor {
  readonly username: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

/** A connection, a namespace of them, or (without both) all that there are. */
export interface AuditScope {
  readonly namespace?: string;
  readonly name?: string;
}

/** The audience of a token that is good for reading the record and nothing else. */
export const ARCHIVE_AUDIENCE = 'sallyport-archive';

/** The verb on AccessConnections that lets somebody read what was recorded there. No request of the API server has it. */
export const AUDIT_VERB = 'audit';

export interface Reviews {
  /**
   * TokenReview. @param audience absent: that of the API server
   * @returns undefined when the token is none @throws when the API server cannot be asked
   */
  token(token: string, audience: string | undefined): Promise<Auditor | undefined>;
  /** SubjectAccessReview. @throws when the API server cannot be asked */
  mayAudit(auditor: Auditor, scope: AuditScope): Promise<boolean>;
}
