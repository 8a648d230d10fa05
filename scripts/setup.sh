#!/usr/bin/env bash
# Makes this checkout ready to run: Node's version, npm packages, the build, and Debian packages by name.
#
#   scripts/setup.sh          packages of npm, and the build
#   scripts/setup.sh lab      and what the first lab of scripts/lab.sh needs
#   scripts/setup.sh labs     and what the other labs need
#   scripts/setup.sh test     and what the end-to-end tests need
#   scripts/setup.sh bench    and what the benchmarks need
#
# It installs only what is missing and says so; with nothing missing it is silent and quick.
# Exit codes: 0 ready, 1 failed, 3 only system packages are missing and it may not install them.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/shell.sh"

purpose=${1:-}

# Each row: the Debian package, and the command that shows it is there.
lab_packages=(iproute2:ip iputils-ping:ping curl:curl)
more_lab_packages=(tcpdump:tcpdump apache2-utils:ab bind9-dnsutils:dig procps:sysctl)
test_packages=(tshark:tshark ethtool:ethtool nginx-light:nginx haproxy:haproxy iperf3:iperf3 wrk:wrk wget:wget
  openssh-client:ssh openssh-server:sshd rsync:rsync hping3:hping3 dpdk-dev:dpdk-testpmd
  libpcap-dev:pcap-config g++:g++ make:make python3:python3)
bench_packages=(nftables:nft)

case $purpose in
  '') packages=() ;;
  lab) packages=("${lab_packages[@]}") ;;
  labs) packages=("${lab_packages[@]}" "${more_lab_packages[@]}") ;;
  test) packages=("${lab_packages[@]}" "${more_lab_packages[@]}" "${test_packages[@]}") ;;
  bench) packages=("${lab_packages[@]}" "${more_lab_packages[@]}" "${test_packages[@]}" "${bench_packages[@]}") ;;
  *) die "unknown purpose '$purpose'; one of lab, labs, test, bench, or none" ;;
esac

check_node() {
  local version
  version=$(node --version 2>/dev/null) || die "Node.js 20 or newer is needed, and there is no 'node' in PATH"
  version=${version#v}
  ((${version%%.*} >= 20)) || die "Node.js 20 or newer is needed; $(command -v node) is $version"
}

# npm leaves the optional package cap out where libpcap's headers are missing. When they have come it is tried again, once.
may_lack_cap() {
  [[ ! -e node_modules/cap && ! -e node_modules/.without-cap ]] && command -v pcap-config >/dev/null
}

# Node's headers, which cap is built with, need not be fetched where those of this version are installed.
use_installed_headers() {
  local prefix major
  prefix=$(node -p 'path.resolve(process.execPath, "../..")')
  major=$(node -p 'process.versions.node.split(".")[0]')
  if grep -qs "define NODE_MAJOR_VERSION $major\$" "$prefix/include/node/node_version.h"; then
    export npm_config_nodedir=$prefix
  fi
}

# npm writes the inner lock file when an installation is complete.
install_modules() {
  local done=node_modules/.package-lock.json
  [[ -e $done && ! package-lock.json -nt $done ]] && ! may_lack_cap && return
  command -v npm >/dev/null || die "npm is needed to install the packages of package-lock.json (on Debian: apt-get install npm)"
  say "setup: installing npm packages (npm ci)"
  use_installed_headers
  npm ci --no-audit --no-fund --loglevel=error
  touch "$done"
  ! may_lack_cap || touch node_modules/.without-cap
}

is_built() {
  local stamp=dist/.built
  [[ -e $stamp && -z $(find src stack lb scripts/build.ts package.json node_modules/.package-lock.json -newer "$stamp" -print -quit) ]]
}

# The stamp bears the time at which the build began, so that a file edited meanwhile is built again. One build at a time:
# labs may be started side by side.
build() {
  is_built && return
  mkdir -p dist
  exec 8>dist/.lock
  flock 8
  if ! is_built; then
    say "setup: building dist (npm run build)"
    touch dist/.built.new
    npm run --silent build
    mv dist/.built.new dist/.built
  fi
  exec 8>&-
}

missing_packages() {
  local row
  for row in "${packages[@]}"; do
    command -v "${row#*:}" >/dev/null || printf '%s ' "${row%%:*}"
  done
}

install_packages() {
  local missing
  missing=$(missing_packages)
  missing=${missing% }
  [[ -z $missing ]] && return
  if ! command -v apt-get >/dev/null; then
    say "setup: please install (these are Debian's names): $missing" >&2
    status=3
    return
  fi
  if ((EUID != 0)); then
    say "setup: please install, as root: apt-get install --no-install-recommends $missing" >&2
    status=3
    return
  fi
  say "setup: installing Debian packages: $missing"
  hold_services
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update || say "setup: apt-get update failed; trying with the lists at hand" >&2
  # shellcheck disable=SC2086 # the names are words
  apt-get -qq install -y --no-install-recommends $missing </dev/null >/dev/null
  missing=$(missing_packages)
  [[ -z $missing ]] || die "still missing after the installation: $missing"
}

# nginx and haproxy are wanted as programs only: without this Debian starts both as services, on port 80.
hold_services() {
  local policy=/usr/sbin/policy-rc.d
  [[ -e $policy ]] && return
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap "rm -f $policy" EXIT
}

cd "$project"
status=0
check_node
# First, because packages of npm are built with some of them.
((${#packages[@]} == 0)) || install_packages
install_modules
build
exit "$status"
