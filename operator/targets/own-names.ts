/**
 * Names of Sallyport's own Services, of whatever namespace, and of pods behind them. Whoever may write a connection could have a certificate
 * made for the archive or for the proxies of another namespace by calling them a target, and lead every agent that may use the connection
 * away from them.
 */
const OWN_NAMES =
  /^(([-a-z0-9]+[.])?sallyport-proxy-replicas|sallyport-(proxy|archive|webhook|operator)|[-a-z0-9]+-sallyport)([.]|$)/;

/** @param host in lower case, as resources have it */
export const isOwnName = (host: string): boolean => OWN_NAMES.test(host);
