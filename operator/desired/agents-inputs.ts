/** What a namespace of agents gets. All proxies and targets that its pods may use count together: NetworkPolicies only add up. */
export interface AgentsInputs {
  readonly namespace: string;
  /** `sallyport.dev/egress: locked` on the namespace. */
  readonly locked: boolean;
  /** `sallyport.dev/inject: "true"` on the namespace: every pod that does not opt out is an agent's. Else those with the label. */
  readonly wholeNamespace: boolean;
  /** Namespaces of connections that this one may use, sorted, and the ports on which their proxies listen for it. */
  readonly proxies: readonly { readonly namespace: string; readonly ports: readonly number[] }[];
  /** CIDR ranges of targets: declared, or resolved. */
  readonly targetRanges: readonly string[];
  /** Namespaces where targets run as pods. */
  readonly targetNamespaces: readonly string[];
  /** PEM. */
  readonly trust: string;
  /** The line of known_hosts for SSH clients; empty: there is no authority yet. */
  readonly sshKnownHosts: string;
}
