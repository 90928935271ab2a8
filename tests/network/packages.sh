#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs the Debian packages whose programs the network tests call, and nothing that is there already.
# Without root or apt-get it says in one line what to install; with CI=true that is an error.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

missing=()
need() { # need PACKAGE PROGRAM...
  local package=$1 program
  shift
  for program; do
    command -v "$program" >/dev/null || { missing+=("$package"); return; }
  done
}
need baresip-core baresip
need kamailio kamailio kamcmd
find /usr/lib -path '*/kamailio/modules/tls.so' 2>/dev/null | grep -q . || missing+=(kamailio-tls-modules)
need sip-tester sipp
need tcpdump tcpdump
need nftables nft
need iproute2 ip ss
need util-linux setpriv
[ ${#missing[@]} -gt 0 ] || exit 0

say() {
  echo "network tests: $1; as root: apt-get install --no-install-recommends ${missing[*]}"
  [ "${CI:-}" != true ] || exit 1
  exit 0
}
[ "$(id -u)" -eq 0 ] || say "programs are missing and this is not root"
command -v apt-get >/dev/null || say "programs are missing and there is no apt-get (the names are Debian's)"

log=$(mktemp)
policy=/usr/sbin/policy-rc.d
own_policy=
cleanup() { rm -f "$log"; [ -z "$own_policy" ] || rm -f "$policy"; }
trap cleanup EXIT

# The tests start their own Kamailio: the package must not start one for the whole machine.
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  own_policy=yes
  chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
apt() { apt-get -qq -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1 </dev/null; }
install() { apt install -y --no-install-recommends "${missing[@]}"; }
# The package lists may be absent or stale: fetch them only when the first try failed.
install || { apt update && install; } || {
  cat "$log"
  say "apt-get failed"
}
