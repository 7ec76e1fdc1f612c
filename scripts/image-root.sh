#!/bin/sh
# Lays out the root of an image that holds what Node needs and nothing else: no shell, no package manager.
#   image-root.sh NODE ROOT
# Runs inside the base image, whose C and C++ libraries and certificate authorities are taken.
set -eu
node=$1
root=$2
if ldd "$node" | grep -q 'not found'; then
  # A base without libatomic, as the slim Debian images are; needs a network, unlike everything else here.
  apt-get update -qq && apt-get install -qqy --no-install-recommends libatomic1 libstdc++6
fi
mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/tmp" "$root/var/lib/sallyport"
cp "$node" "$root/usr/bin/node"
ldd "$node" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' | while read -r library; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done
# Names are looked up by libc, which loads these by itself.
for library in $(ldd "$node" | sed -n 's/.*=> \(\/.*\)\/libc\.so\.6 .*/\1/p'); do
  for module in "$library"/libnss_dns.so.2 "$library"/libnss_files.so.2 "$library"/libresolv.so.2; do
    if [ -f "$module" ]; then cp -L "$module" "$root$module"; fi
  done
done
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
printf 'root:x:0:0:root:/:/nonexistent\nsallyport:x:65532:65532:sallyport:/:/nonexistent\n' >"$root/etc/passwd"
printf 'root:x:0:\nsallyport:x:65532:\n' >"$root/etc/group"
if [ -f /etc/ssl/certs/ca-certificates.crt ]; then cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"; fi
for package in libc6 libstdc++6 libgcc-s1 libatomic1 gcc-12-base gcc-14-base ca-certificates; do
  if [ -f "/usr/share/doc/$package/copyright" ]; then
    mkdir -p "$root/usr/share/doc/$package"
    cp -L "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/"
  fi
done
chmod 1777 "$root/tmp"
chown -R 65532:65532 "$root/var/lib/sallyport"
