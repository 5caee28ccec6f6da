#!/bin/sh
# SPDX-License-Identifier: MIT
# get_tool.sh PACKAGE COMMAND WITHOUT_IT: installs a program, or a file if COMMAND is its path, where it is missing and that
# can be done unasked: by apt-get as root, or with sudo on a CI runner. Says in one line what is not done WITHOUT_IT
# otherwise, with exit status 1.
package=$1 command=$2 without_it=$3
is_here() {
  case $command in
    /*) [ -r "$command" ] ;;
    *) command -v "$command" >/dev/null ;;
  esac
}
is_here && exit 0

cannot() {
  echo "$package is not here, and $1: $without_it"
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

echo "== installing $package"
log=$(mktemp) || exit 1
policy=/usr/sbin/policy-rc.d made=
if [ ! -e "$policy" ]; then # a package such as nginx's would start its service
  printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null && $as_root chmod 755 "$policy" && made=$policy
fi
trap 'rm -f "$log"; [ -z "$made" ] || $as_root rm -f "$made"' EXIT
install="install --yes --no-install-recommends $package"
apt $install || { apt update && apt $install; } || cannot "apt-get failed ($(tail -n 1 "$log"))"
is_here || cannot 'apt-get did not bring it'
