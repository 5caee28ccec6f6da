#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs valgrind, where it is missing and that can be done unasked: by apt-get as root, or with sudo on a CI runner.
# Says in one line why not otherwise, with exit status 1.
command -v valgrind >/dev/null && exit 0

cannot() {
  echo "valgrind is not here, and $1: instructions are not counted"
  exit 1
}

as_root=
if [ "$(id -u)" -ne 0 ]; then
  [ -n "$CI" ] || cannot 'only root may install it'
  sudo -n true 2>/dev/null || cannot 'there is no sudo without a password'
  as_root='sudo -n'
fi
command -v apt-get >/dev/null || cannot 'there is no apt-get to install it with'

apt() {
  timeout 120 $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=0 \
    -o Acquire::http::Timeout=15 -o DPkg::Lock::Timeout=30 "$@" >"$log" 2>&1
}

echo '== installing valgrind'
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
install='install --yes --no-install-recommends valgrind'
apt $install || { apt update && apt $install; } || cannot "apt-get failed ($(tail -n 1 "$log"))"
command -v valgrind >/dev/null || cannot 'apt-get did not bring it'
