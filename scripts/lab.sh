#!/usr/bin/env bash
# A network in one machine: a client, a switch, real servers, and tsvs on a TAP between them.
#
#   scripts/lab.sh                   build it, ping and curl the VIP, then a shell in the client and tsvs' log
#   scripts/lab.sh check             the same without a terminal, and a transfer and a shutdown; exits 0 or 1
#   scripts/lab.sh up                build it and leave it running
#   scripts/lab.sh exec WHERE CMD    run CMD at client, rs1, rs2 or tsvs (the switch, where its TAP is)
#   scripts/lab.sh down              end it
#
# Root needs nothing more; other users need user namespaces and a /dev/net/tun they may open. The addresses are those
# of config/lb.conf. TSVS_LAB=NAME (default tsvs) names the lab and its namespaces: several can run side by side.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/shell.sh"
source "$project/scripts/lab/plan.sh"
source "$project/scripts/lab/state.sh"
source "$project/scripts/lab/privilege.sh"
source "$project/scripts/lab/network.sh"
source "$project/scripts/lab/run.sh"
source "$project/scripts/lab/check.sh"
source "$project/scripts/lab/terminal.sh"

# The three ways to build a lab: each ends it again, whatever happens, unless it is to stay.
build() {
  trap 'finish $?' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  state_create
  build_network
  start_real_servers
  start_tsvs
  describe
}

finish() {
  local status=$1
  trap '' INT TERM HUP
  trap - EXIT
  ((status == 0 || status == 130 || status == 143)) || show_log_tail
  end_lab
  exit "$status"
}

cmd_up() {
  build
  say "try:  scripts/lab.sh exec client curl $(url "${ports[0]}")"
  say "tsvs: log $state/tsvs.log, control socket $state/tsvs.sock"
  trap - EXIT
}

cmd_check() {
  build
  check_ping && check_balance && check_other_ports && check_transfer && check_shutdown || exit 1
}

cmd_terminal() {
  build
  check_ping && check_balance || exit 1
  stay
}

cmd_down() {
  if ! state_exists; then
    say "no lab named '$lab' is up"
    return
  fi
  end_lab
}

cmd_exec() {
  local where=${1:-}
  [[ -n $where ]] || die "exec needs a place: client, tsvs, rs1, rs2"
  shift
  [[ $where == tsvs ]] && where=switch
  is_host "$where" || die "no '$where' in the lab; there are client, tsvs and rs1 to rs$((${#server_ips[@]}))"
  (($# > 0)) || set -- "${SHELL:-/bin/bash}"
  exec ip netns exec "$lab-$where" "$@"
}

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

command=${1:-}
case $command in
  '')
    [[ -t 0 && -t 1 ]] && command=terminal || command=check
    ;;
  check | up | down | exec) shift ;;
  -h | --help | help)
    usage
    exit
    ;;
  *)
    usage >&2
    exit 2
    ;;
esac

read_plan
state_locate
become_able "$command" "$@"
"cmd_$command" "$@"
