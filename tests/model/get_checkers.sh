#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs relacy and spin, where they are missing and that can be done unasked: by apt-get as root, or with sudo on a
# CI runner. Says in one line why not otherwise, with exit status 1.
are_here() { [ -r /usr/include/relacy/relacy.hpp ] && command -v spin >/dev/null; }
are_here && exit 0

cannot() {
  echo "relacy or spin is not here, and $1: the models are not checked"
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

echo '== installing relacy and spin'
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
install='install --yes --no-install-recommends relacy-dev spin'
apt $install || { apt update && apt $install; } || cannot "apt-get failed ($(tail -n 1 "$log"))"
are_here || cannot 'apt-get did not bring them'
