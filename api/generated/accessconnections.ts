// Generated from crds/accessconnections.yaml by scripts/generate-types.ts. Do not edit.

/**
 * A protected target (a database, SSH host, Kubernetes API or HTTP service) and how Sallyport reaches it. Nobody may use it until an AccessPolicy allows it.
 */
export interface AccessConnection {
  apiVersion: 'sallyport.dev/v1alpha1';
  kind: 'AccessConnection';
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
   * What is protected and how it is reached.
   */
  spec: {
    /**
     * What the target speaks. Cannot be changed later.
     */
    protocol: 'Postgres' | 'SSH' | 'Kubernetes' | 'HTTP';
    /**
     * Where the target is. Agents keep using this host and port.
     */
    target: {
      /**
       * DNS name or IP address, exactly as agents write it.
       */
      host: string;
      /**
       * CIDR ranges that host resolves to, for NetworkPolicies, which know no names. Absent: the addresses that the operator resolves.
       */
      addresses?: string[];
      /**
       * TCP port, such as 5432 for Postgres, 22 for SSH, 443 for HTTP and Kubernetes.
       */
      port: number;
      /**
       * Postgres: the one database behind this connection. Others need an AccessConnection of their own.
       */
      database?: string;
      /**
       * SSH: public host keys as in known_hosts without the host, or "@cert-authority ssh-ed25519 AAAA...". Nothing is trusted on first use: print them with ssh-keyscan and compare them with the host.
       */
      hostKeys?: string[];
      /**
       * TLS towards the target. Absent: on, verified against the system's authorities.
       */
      tls?: {
        /**
         * VerifyFull checks the certificate and the name, VerifyCA only the certificate. Disable sends everything in the clear.
         */
        mode?: 'VerifyFull' | 'VerifyCA' | 'Disable';
        /**
         * Certificate authorities to trust instead of the system's.
         */
        caRef?: {
          /**
           * Where they are.
           */
          kind?: 'ConfigMap' | 'Secret';
          /**
           * Name in this namespace.
           */
          name: string;
          /**
           * Key that holds the PEM bundle.
           */
          key?: string;
        };
        /**
         * Name expected in the certificate. Default: host.
         */
        serverName?: string;
      };
    };
    /**
     * How the proxy signs in to the target. Agents never see it.
     */
    credential?: {
      /**
       * A fixed credential. Keys by protocol: Postgres username and password (or tls.crt and tls.key); SSH username and ssh-privatekey (or password); Kubernetes token, or tls.crt and tls.key, or kubeconfig (whole in itself, for the target); HTTP token (sent as a bearer token), or username and password (sent as basic authentication), and tls.crt with tls.key (a client certificate), alone or besides.
       */
      secretRef?: {
        /**
         * Name of a Secret in this namespace.
         */
        name: string;
      };
      /**
       * A Postgres role made for each session, or for each statement, and dropped after it.
       */
      postgresRole?: {
        /**
         * How long one role lives. Statement makes a credential that is good for a single request only, at the price of one more connection set-up for each.
         */
        scope?: 'Session' | 'Statement';
        /**
         * username and password of a role that may create roles.
         */
        adminSecretRef: {
          /**
           * Name of a Secret in this namespace.
           */
          name: string;
        };
        /**
         * Existing roles whose rights the temporary role inherits.
         */
        memberOf?: string[];
        /**
         * Grant exactly what the Allow rules for the subject say.
         */
        grantsFromPolicy?: boolean;
        /**
         * How long the role can sign in.
         */
        ttl?: string;
      };
      /**
       * A client certificate signed for each session, with a key that never leaves memory. The server trusts the authority in caSecretRef: sallyport ca postgres prints what it needs.
       */
      clientCertificate?: {
        /**
         * The authority, as tls.crt and tls.key (P-256).
         */
        caSecretRef: {
          /**
           * Name of a Secret in this namespace.
           */
          name: string;
        };
        /**
         * The role to sign in as. It becomes the certificate's common name, which the server compares with it.
         */
        role: string;
        /**
         * Lifetime of the certificate. It has to last for signing in only.
         */
        ttl?: string;
      };
      /**
       * An SSH user certificate signed for each connection. Its key id names the agent in the target's own log.
       */
      sshCertificate?: {
        /**
         * The signing key, as ssh-privatekey.
         */
        caSecretRef: {
          /**
           * Name of a Secret in this namespace.
           */
          name: string;
        };
        /**
         * Login users that certificates are signed for, such as deploy. Each certificate names the one that the client asks for.
         */
        principals: string[];
        /**
         * What one certificate is for. Connection signs one for each connection. Command lets each connection run one command only, so that each has a certificate of its own.
         */
        scope?: 'Connection' | 'Command';
        /**
         * Addresses and CIDR ranges that the certificate can be used from. Default: the address that the proxy itself has on the way to the target; set this where that address is translated on the way.
         */
        sourceAddresses?: string[];
        /**
         * Lifetime of the certificate. It has to last for signing in only.
         */
        ttl?: string;
      };
      /**
       * A short-lived token of a service account in this namespace (TokenRequest).
       */
      serviceAccountToken?: {
        /**
         * The service account.
         */
        name: string;
        /**
         * Audiences of the token. Default: the API server's.
         */
        audiences?: string[];
        /**
         * Lifetime of the token; the API server issues none shorter than 10m.
         */
        ttl?: string;
      };
      /**
       * Kubernetes: act as the caller through impersonation, so that the target's RBAC and audit log see the caller.
       */
      impersonate?: {
        /**
         * Whoever may impersonate, with the keys of secretRef for Kubernetes. Default: the proxy's own service account, for the API server of its own cluster.
         */
        secretRef?: {
          /**
           * Name of a Secret in this namespace.
           */
          name: string;
        };
      };
      /**
       * HTTP: a header with a secret value.
       */
      httpHeader?: {
        /**
         * Header name, such as X-Api-Key.
         */
        name: string;
        /**
         * The header's whole value.
         */
        secretRef: {
          /**
           * Name of a Secret in this namespace.
           */
          name: string;
          /**
           * Key inside the Secret.
           */
          key?: string;
        };
      };
      /**
       * HTTP: access tokens of an authorization server, by the client credentials grant (RFC 6749, section 4.4), sent as bearer tokens. They are fetched when they are needed, and anew before they expire.
       */
      oauthClientCredentials?: {
        /**
         * The token endpoint.
         */
        tokenURL: string;
        /**
         * The client, under the keys client-id and client-secret; tls.crt with tls.key is a client certificate for the target.
         */
        secretRef: {
          /**
           * Name of a Secret in this namespace.
           */
          name: string;
        };
        /**
         * Scopes to ask for.
         */
        scopes?: string[];
        /**
         * The parameter audience, which some authorization servers want.
         */
        audience?: string;
        /**
         * The parameter resource (RFC 8707).
         */
        resource?: string;
        /**
         * How the client proves itself: Basic in the Authorization header, Post in the body.
         */
        clientAuthentication?: 'Basic' | 'Post';
        /**
         * Certificate authorities to trust for the token endpoint instead of the system's.
         */
        caRef?: {
          /**
           * Where they are.
           */
          kind?: 'ConfigMap' | 'Secret';
          /**
           * Name in this namespace.
           */
          name: string;
          /**
           * Key that holds the PEM bundle.
           */
          key?: string;
        };
      };
    };
    /**
     * HTTP: how requests are passed on.
     */
    http?: {
      /**
       * Longest request body that is read before it is decided on: where a rule looks at bodies, or people have to approve. A longer one is refused there; all others stream through at any length. Default: 1 MiB.
       */
      maxBodyBytes?: number;
      /**
       * Remove takes Cookie out of requests and Set-Cookie out of answers: a session of the target is as good as the credential that opened it. Default: Remove where there is a credential, else Pass.
       */
      cookies?: 'Pass' | 'Remove';
      /**
       * How long the target may take until its answer begins.
       */
      responseTimeout?: string;
      /**
       * Where the target speaks the Model Context Protocol. Messages there are decided one by one, by rules with http.mcp; rules without it grant nothing there.
       */
      mcp?: {
        /**
         * Paths of its endpoints, exactly as clients write them.
         */
        paths: string[];
      };
    };
    /**
     * SSH: how clients may prove who they are besides connectors and tokens. Both name whom they stand for, and policies are about that subject; nothing else that a client says counts.
     */
    ssh?: {
      /**
       * Public keys that sign in as a service account, without a token. Taking one out ends its sessions.
       */
      authorizedKeys?: {
        /**
         * Whom the key stands for.
         */
        serviceAccount: {
          /**
           * Its namespace, which allowedNamespaces has to contain. Default: the namespace of this object.
           */
          namespace?: string;
          /**
           * Its name.
           */
          name: string;
        };
        /**
         * A public key as in authorized_keys, without options. RSA keys need 2048 bits.
         */
        publicKey: string;
        /**
         * When the key, and its sessions, end. Default: when it is taken out.
         */
        expiresAt?: string;
      }[];
      /**
       * Authorities whose user certificates sign in without a token.
       */
      trustedUserCAs?: {
        /**
         * The authority's public key, as in the file that TrustedUserCAKeys of sshd names.
         */
        publicKey: string;
        /**
         * Whom the principals of a certificate stand for. One that has none of them is refused; of several the first in this list counts.
         */
        subjects: {
          /**
           * A principal, exactly as in the certificate.
           */
          principal: string;
          /**
           * The service account that it stands for.
           */
          serviceAccount?: {
            /**
             * Its namespace, which allowedNamespaces has to contain. Default: the namespace of this object.
             */
            namespace?: string;
            /**
             * Its name.
             */
            name: string;
          };
          /**
           * The person or workload that it stands for, as alias:subject, such as okta:ana@example.com.
           */
          user?: string;
        }[];
        /**
         * Longest life, from valid-after to valid-before, of a certificate that is accepted.
         */
        maxLifetime?: string;
      }[];
      /**
       * Open SSH connections of one subject here at one time, on each proxy. Default: 64.
       */
      maxConnectionsPerSubject?: number;
    };
    /**
     * Namespaces whose pods may use this connection, as in Gateway API. Callers from outside the cluster are not concerned.
     */
    allowedNamespaces?: {
      /**
       * Same is the namespace of this object.
       */
      from?: 'Same' | 'Selector' | 'All';
      /**
       * Labels of namespaces, for from: Selector. Every namespace has kubernetes.io/metadata.name.
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
     * Enforce denies what no rule allows. Observe lets it pass and records what would have been decided; Deny rules still deny.
     */
    mode?: 'Enforce' | 'Observe';
    /**
     * How agents get here. Sidecar injects a connector that keeps host and port as they are; Gateway injects nothing, agents dial the proxy's Service and give their token as the password.
     */
    routing?: 'Sidecar' | 'Gateway';
    /**
     * What to do when an agent's pod can reach the target without Sallyport. Report sets the condition EgressEnforced to False; Refuse also keeps the pod from starting.
     */
    onBypass?: 'Report' | 'Refuse';
    /**
     * How long a proxy that has lost the API server keeps deciding on its last policy before it denies everything.
     */
    maxPolicyStaleness?: string;
    /**
     * Ceilings for every session and command here. Rules can only be stricter. Absent: none.
     */
    limits?: {
      /**
       * Sessions at one time, all subjects together; each process of each proxy counts its own.
       */
      maxSessions?: number;
      /**
       * SSH: channels that one connection may have open at one time, such as sessions over a shared connection (ControlMaster) and forwarded ports. Default 64.
       */
      maxChannels?: number;
      /**
       * Longest session.
       */
      maxSessionDuration?: string;
      /**
       * A session without a command for this long is closed.
       */
      idleTimeout?: string;
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
    };
    /**
     * What is recorded and where it goes.
     */
    audit?: {
      /**
       * Metadata: who, when, verdict. Commands: and every command. Full: and every response, after masking.
       */
      level?: 'Metadata' | 'Commands' | 'Full';
      /**
       * With Full: how much of one response is recorded, after masking. Past it only its length and digest are.
       */
      maxResponseBytes?: number;
      /**
       * Days that recordings are kept.
       */
      retentionDays?: number;
      /**
       * Names of the export sinks set where the operator is installed. Absent: all of them.
       */
      sinks?: string[];
    };
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
     * Hash of the policy bundle that every proxy has confirmed.
     */
    policyHash?: string;
    /**
     * How many AccessPolicies apply here.
     */
    policies?: number;
    /**
     * Open sessions.
     */
    sessions?: number;
    /**
     * Masking coverage of the target's catalog.
     */
    masking?: {
      /**
       * Sensitive columns masked / found.
       */
      summary?: string;
      /**
       * Sensitive-looking columns that no MaskingRule covers.
       */
      unmasked?: string[];
    };
  };
}
