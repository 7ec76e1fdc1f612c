// Generated from crds/approvalrequests.yaml by scripts/generate-types.ts. Do not edit.

/**
 * One held command that waits for people. Made by the proxy, approved with kubectl patch or kubectl sallyport approve.
 */
export interface ApprovalRequest {
  apiVersion: 'sallyport.dev/v1alpha1';
  kind: 'ApprovalRequest';
  metadata: {
    name: string;
    namespace: string;
    uid?: string;
    generation?: number;
    creationTimestamp?: string;
    labels?: {
      [k: string]: string;
    };
    annotations?: {
      [k: string]: string;
    };
  };
  /**
   * Written once by the proxy. Only decisions may be added.
   */
  spec: {
    /**
     * The connection.
     */
    connectionRef: {
      /**
       * Its name.
       */
      name: string;
      /**
       * Its uid; absent where connections have none, as in a folder of files.
       */
      uid?: string;
    };
    /**
     * What has to be met before the command runs, one entry for each rule that asks for approval. Each is met on its own.
     */
    requirements: {
      /**
       * The rule that asks for approval.
       */
      policyRef: {
        /**
         * Namespace of the AccessPolicy.
         */
        namespace: string;
        /**
         * Name of the AccessPolicy.
         */
        name: string;
        /**
         * Name of the rule.
         */
        rule: string;
        /**
         * Generation of the AccessPolicy.
         */
        generation: number;
      };
      /**
       * How many different people must approve.
       */
      requiredApprovals: number;
      /**
       * What the rule says to whoever meets it.
       */
      message?: string;
      /**
       * Narrows who may approve, from the rule.
       */
      approvers?: {
        /**
         * Kubernetes user names.
         */
        users?: string[];
        /**
         * Kubernetes groups.
         */
        groups?: string[];
      };
    }[];
    /**
     * Who asks. May not approve.
     */
    requester: {
      /**
       * Full identity, such as system:serviceaccount:shop:agent.
       */
      username: string;
      /**
       * Short identity for lists.
       */
      displayName: string;
      /**
       * Alias of the identity provider; absent for service accounts.
       */
      issuer?: string;
      /**
       * The person behind the agent, when a verified token names one. May not approve either.
       */
      onBehalfOf?: string;
      /**
       * The pod, when it runs in this cluster.
       */
      pod?: {
        /**
         * Namespace.
         */
        namespace: string;
        /**
         * Name.
         */
        name: string;
        /**
         * Uid.
         */
        uid: string;
        /**
         * Node.
         */
        node?: string;
      };
    };
    /**
     * The exact command.
     */
    request: {
      /**
       * Protocol of the connection.
       */
      protocol: 'Postgres' | 'SSH' | 'Kubernetes' | 'HTTP';
      /**
       * The database, for a Postgres connection.
       */
      database?: string;
      /**
       * The user on the target, for an SSH connection.
       */
      loginUser?: string;
      /**
       * The host that a request goes to, for an HTTP or Kubernetes connection.
       */
      host?: string;
      /**
       * The command in one line.
       */
      summary: string;
      /**
       * The whole command as the approver sees it; secrets replaced, control characters as escapes. One that does not fit is refused, not cut.
       */
      display?: string;
      /**
       * What was replaced in display.
       */
      redactions?: string[];
      /**
       * What it would do, such as "Delete on public.orders".
       */
      effects?: string[];
      /**
       * Why, in the requester's words.
       */
      reason?: string;
      /**
       * Session in the record.
       */
      sessionId?: string;
      /**
       * Hash of the command without its values, and of who asks for it where; what reuseFor compares.
       */
      fingerprint?: string;
      /**
       * Hash of the command and everything that changes its meaning; what an approval is bound to.
       */
      hash: string;
    };
    /**
     * What the command would do, found out without doing it when it was held.
     */
    preview?: {
      /**
       * The planner's guess.
       */
      estimate?: {
        /**
         * Rows that it expects.
         */
        rows: number;
        /**
         * The plan as EXPLAIN shows it, cut where it is too long.
         */
        plan: string;
      };
      /**
       * Foreign keys that would carry the effect on.
       */
      cascades?: string[];
      /**
       * Why there is no estimate.
       */
      unavailable?: string;
    };
    /**
     * How long the approval covers the same statement with other values; absent: once.
     */
    reuseFor?: string;
    /**
     * When it expires undecided.
     */
    expiresAt: string;
    /**
     * Votes. Append with: kubectl patch areq NAME --type=json -p '[{"op":"add","path":"/spec/decisions/-","value":{"verdict":"Approve","reason":"..."}}]'
     */
    decisions?: {
      /**
       * The vote.
       */
      verdict: 'Approve' | 'Deny';
      /**
       * Random, one for each vote. Stamped by whoever signs it.
       */
      id?: string;
      /**
       * Why.
       */
      reason?: string;
      /**
       * Who voted. Stamped by admission; what a client sends is discarded.
       */
      by?: {
        /**
         * Kubernetes user name.
         */
        username?: string;
        /**
         * Kubernetes uid.
         */
        uid?: string;
        /**
         * The approver groups that matched.
         */
        groups?: string[];
      };
      /**
       * When. Stamped by admission.
       */
      at?: string;
      /**
       * Client that was used. Stamped by admission.
       */
      via?: string;
      /**
       * Signature over the request as it was shown, its uid, name and hash, and over everything else in the vote. Stamped by admission.
       */
      attestation?: string;
    }[];
  };
  /**
   * Written by the operator and the proxy.
   */
  status?: {
    /**
     * The metadata.generation that this status describes.
     */
    observedGeneration?: number;
    /**
     * Standard Kubernetes conditions. Ready is the summary; wait for it with kubectl wait --for=condition=Ready.
     */
    conditions?: {
      /**
       * Name of the condition.
       */
      type: string;
      /**
       * Whether it holds.
       */
      status: 'True' | 'False' | 'Unknown';
      /**
       * The metadata.generation this was computed from.
       */
      observedGeneration?: number;
      /**
       * When status last changed.
       */
      lastTransitionTime: string;
      /**
       * One CamelCase word for programs.
       */
      reason: string;
      /**
       * A sentence for people.
       */
      message: string;
    }[];
    /**
     * Where it stands. Pending becomes Approved, Denied, Expired, Withdrawn (the client left) or Orphaned (the proxy restarted; an approval then lets an identical retry pass once). Approved becomes Consumed, then Executed or Failed.
     */
    state?:
      'Pending' | 'Approved' | 'Denied' | 'Expired' | 'Withdrawn' | 'Orphaned' | 'Consumed' | 'Executed' | 'Failed';
    /**
     * Approvals / required.
     */
    votes?: string;
    /**
     * Who decided it.
     */
    decidedBy?: string;
    /**
     * When it was decided.
     */
    decidedTime?: string;
    /**
     * When the command was released, at most once.
     */
    consumedTime?: string;
    /**
     * What came of it, such as DELETE 3, or why it was withdrawn.
     */
    outcome?: string;
    /**
     * Event in the record.
     */
    auditRef?: string;
    /**
     * The process that holds the command.
     */
    holder?: {
      /**
       * Its pod, or the machine's name.
       */
      host: string;
      /**
       * Random, one for each process.
       */
      process: string;
      /**
       * Its process id.
       */
      pid?: number;
      /**
       * The machine's id of its last start, where it has one.
       */
      boot?: string;
      /**
       * When the process started, in the kernel's clock ticks, where they are known.
       */
      started?: string;
    };
    /**
     * What was measured on an approver's request.
     */
    preview?: {
      /**
       * Counted by a statement that only reads.
       */
      measured?: {
        /**
         * Rows that match.
         */
        rows: number;
        /**
         * When it was counted.
         */
        at: string;
        /**
         * How long counting took, in milliseconds.
         */
        durationMs: number;
      };
      /**
       * Why there is no count.
       */
      unavailable?: string;
    };
  };
}
