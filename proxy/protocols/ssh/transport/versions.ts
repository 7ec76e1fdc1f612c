/**
 * How the gateway names itself (RFC 4253, section 4.2). OpenSSH's programs, and others, use some messages only towards what calls itself
 * OpenSSH: `eow@openssh.com`, without which `ssh HOST yes | head -1` would not end, and `no-more-sessions@openssh.com`. Both pass here as
 * they do there, so that is the name, and ours stands behind it as the comment.
 */
export const GATEWAY_VERSION = 'OpenSSH_9.9 Sallyport';

/** Towards targets, for clients that do not know OpenSSH's messages. */
export const PLAIN_VERSION = 'Sallyport';

/** As RFC 4253, section 9, recommends: new keys after a gigabyte. */
export const REKEY_BYTES = 1024 ** 3;

/** What a target is told, so that it sends no message that the client would not know. */
export const versionLike = (clientVersion: string | undefined): string =>
  clientVersion === undefined || clientVersion.startsWith('OpenSSH') ? GATEWAY_VERSION : PLAIN_VERSION;
