// Generated from crds/accesspolicies.yaml by scripts/generate-types.ts. Do not edit.

/**
 * Rules that grant, deny or hold commands of some subjects on some connections of this namespace. In the operator's namespace: of all namespaces.
 */
export interface AccessPolicy {
  apiVersion: 'sallyport.dev/v1alpha1';
  kind: 'AccessPolicy';
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
   * Who may do what on which connections. Everything is denied that no Allow rule grants; Deny always wins; order never matters.
   */
  spec: {
    /**
     * The AccessConnections that this policy applies to: exactly one of all, names and selector.
     */
    connections: {
      /**
       * Every AccessConnection. Only true can be written.
       */
      all?: true;
      /**
       * Names of AccessConnections in this namespace.
       */
      names?: string[];
      /**
       * Labels of AccessConnections.
       */
      selector?: {
        /**
         * Every label must have this value.
         */
        matchLabels?: {
          [k: string]: string;
        };
        /**
         * Every requirement must hold.
         */
        matchExpressions?: {
          /**
           * Label key.
           */
          key: string;
          /**
           * How the label is compared.
           */
          operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
          /**
           * Values for In and NotIn.
           */
          values?: string[];
        }[];
      };
    };
    /**
     * Who the rules are about: any one entry is enough.
     */
    subjects: {
      /**
       * Every authenticated caller. Only true can be written.
       */
      everyone?: true;
      /**
       * A Kubernetes service account of this cluster.
       */
      serviceAccount?: {
        /**
         * Its namespace. Default: the namespace of this object.
         */
        namespace?: string;
        /**
         * Its name, or "*" for every service account of the namespace.
         */
        name: string;
      };
      /**
       * A group from an identity provider, as alias:group, such as okta:dba. Aliases are set where the operator is installed.
       */
      group?: string;
      /**
       * One person or workload from an identity provider, as alias:subject, such as okta:ana@example.com.
       */
      user?: string;
      /**
       * Callers whose token has these claims, such as one repository and branch of a CI system.
       */
      token?: {
        /**
         * Alias of the identity provider, such as github.
         */
        issuer: string;
        /**
         * Claims that must all be present with exactly these values.
         */
        claims: {
          [k: string]: string;
        };
      };
    }[];
    /**
     * Who the rules are not about, though listed in subjects.
     */
    exceptSubjects?: {
      /**
       * A Kubernetes service account of this cluster.
       */
      serviceAccount?: {
        /**
         * Its namespace. Default: the namespace of this object.
         */
        namespace?: string;
        /**
         * Its name, or "*" for every service account of the namespace.
         */
        name: string;
      };
      /**
       * A group from an identity provider, as alias:group, such as okta:dba. Aliases are set where the operator is installed.
       */
      group?: string;
      /**
       * One person or workload from an identity provider, as alias:subject, such as okta:ana@example.com.
       */
      user?: string;
      /**
       * Callers whose token has these claims, such as one repository and branch of a CI system.
       */
      token?: {
        /**
         * Alias of the identity provider, such as github.
         */
        issuer: string;
        /**
         * Claims that must all be present with exactly these values.
         */
        claims: {
          [k: string]: string;
        };
      };
    }[];
    /**
     * What is granted, denied or held. Rules of all policies are taken together.
     */
    rules: {
      /**
       * Name of the rule, shown in denials and in the record.
       */
      name: string;
      /**
       * Allow grants. Deny always wins. RequireApproval never grants: it makes people approve what some Allow rule grants. To grant after approval, write Allow with approval.
       */
      effect: 'Allow' | 'Deny' | 'RequireApproval';
      /**
       * Shown to the caller when this rule denies or holds: say what to do instead.
       */
      message?: string;
      /**
       * CEL condition over subject, connection, command, session and now, such as now.getHours("Europe/Berlin") >= 18. Checked by the operator: an error makes the policy not Ready. On an error Allow does not match; Deny and RequireApproval do.
       */
      when?: string;
      /**
       * SQL statements (Postgres connections).
       */
      sql?: {
        /**
         * Kinds (Select, DropTable, CopyTo, ...) and categories: Read (Select, Show, Explain), Write (Insert, Update, Delete, Merge), DDL (Create*, Alter*, Drop*, Truncate, Comment, RefreshView), DCL (Grant, Revoke, *Role), Session (Transaction, Set, Show). In Allow, * and the categories never include CopyTo, CopyFrom, CopyProgram, Opaque (DO, CALL, dynamic SQL) or Unknown (not parsable): name those.
         */
        statements?: (
          | '*'
          | 'Read'
          | 'Write'
          | 'DDL'
          | 'DCL'
          | 'Session'
          | 'Select'
          | 'Insert'
          | 'Update'
          | 'Delete'
          | 'Merge'
          | 'Truncate'
          | 'CopyTo'
          | 'CopyFrom'
          | 'CopyProgram'
          | 'CreateTable'
          | 'AlterTable'
          | 'DropTable'
          | 'CreateView'
          | 'DropView'
          | 'CreateIndex'
          | 'DropIndex'
          | 'CreateSchema'
          | 'DropSchema'
          | 'CreateDatabase'
          | 'AlterDatabase'
          | 'DropDatabase'
          | 'CreateFunction'
          | 'AlterFunction'
          | 'DropFunction'
          | 'CreateTrigger'
          | 'DropTrigger'
          | 'CreateSequence'
          | 'AlterSequence'
          | 'DropSequence'
          | 'CreateType'
          | 'AlterType'
          | 'DropType'
          | 'CreateExtension'
          | 'DropExtension'
          | 'CreateRole'
          | 'AlterRole'
          | 'DropRole'
          | 'CreateOther'
          | 'AlterOther'
          | 'DropOther'
          | 'Grant'
          | 'Revoke'
          | 'Transaction'
          | 'Set'
          | 'Show'
          | 'Listen'
          | 'Notify'
          | 'Lock'
          | 'Explain'
          | 'Vacuum'
          | 'Analyze'
          | 'Reindex'
          | 'RefreshView'
          | 'Comment'
          | 'AlterSystem'
          | 'Opaque'
          | 'Unknown'
        )[];
        /**
         * schema.table patterns of the tables, views and sequences touched, such as public.* or audit.events; * stands for any run of characters. Names without a schema are resolved through the session's search_path first.
         */
        relations?: string[];
        /**
         * schema.function patterns of the functions called. Absent: in Allow, only built-in functions that compute; elsewhere, not looked at. A pattern never covers the dangerous built-ins in Allow: name those exactly.
         */
        functions?: string[];
      };
      /**
       * SSH operations.
       */
      ssh?: {
        /**
         * What is done. ReadFile and WriteFile are sftp, scp, rsync and redirections; Shell is an interactive session, or a terminal for a command: one decision, then observed but not controlled; Tunnel is a tun device; Subsystem is any but sftp. Opaque is a command line whose effect cannot be seen from its text, such as $(...), globs, loops and wrappers that commands does not name.
         */
        operations?: (
          | 'Exec'
          | 'Shell'
          | 'ReadFile'
          | 'WriteFile'
          | 'LocalForward'
          | 'RemoteForward'
          | 'AgentForward'
          | 'X11Forward'
          | 'Tunnel'
          | 'Subsystem'
          | 'Opaque'
        )[];
        /**
         * For Exec. One pattern for each word of the command, such as "systemctl status *"; * matches inside one word, a last word ** takes all that follow. Every simple command of a line must match; what cannot be parsed with certainty never matches in Allow. In Allow a * that begins a word matches no option (a word that begins with -), and programs that run other programs (sudo, sh, env, find, git, ...) are covered only where the first word names them. Quotes hold a word together: sh -c 'cd /srv; make'.
         */
        commands?: string[];
        /**
         * Users on the target that the client logs in as, such as deploy; * for any.
         */
        loginUsers?: string[];
        /**
         * For ReadFile and WriteFile. Absolute paths; * stays inside one folder, ** crosses folders, and /srv/up/** is /srv/up too. In Allow neither matches a name that begins with a dot: spell the dot out, as in /srv/www/** /.htaccess.
         */
        paths?: string[];
        /**
         * For LocalForward and RemoteForward: host:port, such as 127.0.0.1:9100 or [::1]:9100; * for any host or port. A Unix socket is unix:/path, which *:* does not include. RemoteForward: the address that the target listens on.
         */
        destinations?: string[];
        /**
         * For Subsystem. Exact names, such as netconf. sftp needs none: rules with ReadFile or WriteFile let it in.
         */
        subsystems?: string[];
      };
      /**
       * Kubernetes API requests. verbs, apiGroups, resources, resourceNames and nonResourceURLs mean what they mean in RBAC. A rule with operations and with verbs is about both.
       */
      kubernetes?: {
        /**
         * What a request means, by whatever route it is made: Scale is also a patch or apply of spec.replicas and an autoscaler; ScaleOut and ScaleIn are its two directions (a direction that is not known counts as both); Exec covers attach and ephemeral containers; ReadSecret is also a patch or delete, which answer with the Secret; Impersonate is a token of a service account; PrivilegedPod is a pod or pod template with hostPath, host namespaces or privileges; UseServiceAccount is one that runs as another service account (resources and resourceNames are then the account's); Opaque is what cannot be understood. In Allow this is the only way to grant these; * in verbs or resources never includes them.
         */
        operations?: (
          | 'Scale'
          | 'ScaleOut'
          | 'ScaleIn'
          | 'Exec'
          | 'PortForward'
          | 'ReadSecret'
          | 'ChangeRBAC'
          | 'Evict'
          | 'Impersonate'
          | 'PrivilegedPod'
          | 'UseServiceAccount'
          | 'Opaque'
        )[];
        /**
         * API verbs. In Deny and RequireApproval delete is deletecollection too; in Allow * never includes deletecollection.
         */
        verbs?: ('*' | 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete' | 'deletecollection')[];
        /**
         * API groups; "" is the core group. Absent: any.
         */
        apiGroups?: string[];
        /**
         * Plural names, with /subresource where there is one: pods, pods/log, deployments, *. In Allow a * in verbs or resources never includes secrets, status, scale, proxy and token subresources, CSR approval, and writes of webhooks, admission policies, API services, custom resource definitions and Sallyport's own objects: name verb and resource.
         */
        resources?: string[];
        /**
         * Names of single objects. Absent: any.
         */
        resourceNames?: string[];
        /**
         * Namespaces of the target cluster; "*" is all of them and cluster-scoped objects.
         */
        namespaces?: string[];
        /**
         * URLs that are no resource, such as /metrics or /logs/*; a * only at the end. Discovery, version, OpenAPI and health need no rule.
         */
        nonResourceURLs?: string[];
        /**
         * For Exec. One pattern for each word of the command, such as "systemctl status *"; * matches inside one word, a last word ** takes all that follow. Every simple command of sh -c SCRIPT must match; what cannot be parsed with certainty is matched as the words that it is. In Allow a * that begins a word matches no option (a word that begins with -), and programs that run other programs (sh, env, find, ...) are covered only where the first word names them; attach, where nobody knows what runs, only by "**".
         */
        commands?: string[];
      };
      /**
       * HTTP requests. Query, headers and the fields of a JSON body are for when: command.http.query, command.http.headers and command.http.body.
       */
      http?: {
        /**
         * Request methods. GET is HEAD too; * is all of these, and in Deny and RequireApproval any other.
         */
        methods?: ('*' | 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'OPTIONS')[];
        /**
         * Patterns on the decoded, normalised path without the query; * stays inside one segment, ** crosses segments, and /v1/orders/** is /v1/orders too. Deny and RequireApproval look at neither case nor a slash at the end.
         */
        paths?: string[];
        /**
         * Messages of the Model Context Protocol, at the paths that the connection declares for it. What is sent there is covered by no Allow rule without mcp.
         */
        mcp?: {
          /**
           * Methods of MCP, such as tools/call or resources/read; * is all that are standard. What every session needs (initialize, ping, notifications, tools/list, which shows what may be called) needs no rule.
           */
          methods?: string[];
          /**
           * For tools/call. Names of tools; * stands for any run of characters. Arguments are for when: command.mcp.arguments.
           */
          tools?: string[];
        };
      };
      /**
       * How the approval is given. Absent with effect RequireApproval: one approval, ten minutes.
       */
      approval?: {
        /**
         * How many different people must approve.
         */
        requiredApprovals?: number;
        /**
         * Narrows who may approve. The RBAC verb "approve" on the AccessConnection is always needed too.
         */
        approvers?: {
          /**
           * Kubernetes user names, as kubectl auth whoami prints them.
           */
          users?: string[];
          /**
           * Kubernetes groups, as kubectl auth whoami prints them.
           */
          groups?: string[];
        };
        /**
         * How long a request stays open before it expires.
         */
        timeout?: string;
        /**
         * Wait keeps the command held until the decision; Reject answers at once with the name of the request, and the same command passes once after approval.
         */
        hold?: 'Wait' | 'Reject';
        /**
         * How long one approval also covers the same subject repeating the same statement with other values on this connection. Absent: the approved command runs once.
         */
        reuseFor?: string;
      };
      /**
       * Ceilings for commands under this rule. Of several Allow rules that cover a command the loosest counts; over them all the connection's own limits.
       */
      limits?: {
        /**
         * Commands of one subject in a minute; more are denied. Each process of each proxy counts its own.
         */
        commandsPerMinute?: number;
        /**
         * Rows that one statement may return; more end it with an error.
         */
        maxRowsReturned?: number;
        /**
         * Bytes that one command may return; more end it with an error.
         */
        maxBytesReturned?: number;
        /**
         * Rows that one statement may change; more and it is rolled back.
         */
        maxRowsAffected?: number;
        /**
         * Longest run of one command, shell or forward.
         */
        maxDuration?: string;
      };
    }[];
  };
  /**
   * Written by the operator.
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
     * How many AccessConnections are selected.
     */
    connections?: number;
    /**
     * Proxies that run this version / all.
     */
    proxies?: string;
    /**
     * When a rule of this policy last decided a command.
     */
    lastUsedTime?: string;
  };
}
