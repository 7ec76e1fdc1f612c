#!/bin/sh
# Stands in for sshd when a script of OpenSSH's regression suite starts one: its clients come to the gateway instead, and behind the gateway
# the real sshd runs with the configuration that the script wanted.
# From the environment: REGRESS_SSHD (the real one), REGRESS_GATEWAY (port), REGRESS_TARGET (file for the arguments), REGRESS_RELAY, REGRESS_NODE.
set -eu
mode=daemon
for argument; do
  case $argument in
    -t | -T | -G | -V) exec "$REGRESS_SSHD" "$@" ;;
    -i) mode=inetd ;;
  esac
done
printf '%s\n' "$@" >"$REGRESS_TARGET.$$"
mv "$REGRESS_TARGET.$$" "$REGRESS_TARGET"
[ "$mode" = daemon ] || exec "$REGRESS_NODE" "$REGRESS_RELAY" "$REGRESS_GATEWAY"
settings=$("$REGRESS_SSHD" "$@" -T)
setting() { printf '%s\n' "$settings" | sed -n "s/^$1 //p" | head -n 1; }
"$REGRESS_NODE" "$REGRESS_RELAY" "$REGRESS_GATEWAY" "$(setting port)" "$(setting pidfile)" </dev/null >/dev/null 2>&1 &
