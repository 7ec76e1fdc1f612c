/** What an injected connector is told, as JSON in the environment variable `SALLYPORT_CONNECTOR`. */
export interface ConnectorConfig {
  readonly version: 1;
  readonly targets: readonly ConnectorTarget[];
}

export interface ConnectorTarget {
  /** `NAMESPACE/NAME` of the AccessConnections behind this host and port: for Postgres one for each database. */
  readonly connections: readonly string[];
  /** As the agent dials it. */
  readonly host: string;
  readonly port: number;
  /** Loopback address of the connector's listener, 127.77.x.y. */
  readonly listen: string;
  /** Headless Service of the proxies, such as `sallyport-proxy-replicas.shop.svc`. */
  readonly proxy: string;
  /** Name in the proxy's certificate, such as `sallyport-proxy.shop.svc`. */
  readonly serverName: string;
  readonly onBypass: 'Report' | 'Refuse';
}
