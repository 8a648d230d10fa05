#!/usr/bin/env bash
# Networks in one machine: clients, switches, real servers, and tsvs between them.
#
#   scripts/lab.sh                   the first lab: ping and curl the VIP, then a shell in the client and tsvs' log
#   scripts/lab.sh list              the labs by name; LAB below is one of them, the first one when left out
#   scripts/lab.sh LAB               build it, show what can be seen in it, then a shell as above
#   scripts/lab.sh LAB show          the same without the shell
#   scripts/lab.sh LAB check         the same, only what holds and what does not; exits 0 or 1
#   scripts/lab.sh LAB up            build it and leave it running
#   scripts/lab.sh LAB exec WHERE CMD    run CMD at a host of it, or at tsvs (the switch, where its TAP is)
#   scripts/lab.sh LAB down          end it
#
# Root needs nothing more; other users need user namespaces and a /dev/net/tun they may open. A lab is described in
# scripts/labs/LAB.sh, and what tsvs is told in config/labs/LAB.conf. TSVS_LAB=NAME names the lab's namespaces and its
# directory, otherwise they are called after the lab: several can be up side by side.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/shell.sh"
source "$project/scripts/lab/state.sh"
source "$project/scripts/lab/plan.sh"
source "$project/scripts/lab/privilege.sh"
source "$project/scripts/lab/network.sh"
source "$project/scripts/lab/run.sh"
source "$project/scripts/lab/steps.sh"
source "$project/scripts/lab/terminal.sh"

# The ways to build a lab: each ends it again, whatever happens, unless it is to stay.
build() {
  trap 'finish $?' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  state_create
  build_network
  say "lab: $about"
  prepare
  start_real_servers
  start_tsvs
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
  quiet=1
  build
  say "try:  scripts/lab.sh$lab_word exec $shell_host $hint"
  say "tsvs: log $state/tsvs.log, control socket $state/tsvs.sock"
  trap - EXIT
}

cmd_show() {
  build
  tour
}

cmd_check() {
  quiet=1
  build
  tour
  check_shutdown
}

cmd_terminal() {
  build
  tour
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
  [[ -n $where ]] || die "exec needs a place: ${hosts[*]} or tsvs"
  shift
  is_place "$where" || die "no '$where' in the lab; there are ${hosts[*]} and tsvs"
  (($# > 0)) || set -- "${SHELL:-/bin/bash}"
  exec ip netns exec "$(namespace "$where")" "$@"
}

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

if [[ ${1:-} == list ]]; then
  list_labs
  exit
fi
choose_lab "${1:-}" && shift
command=${1:-}
case $command in
  '')
    [[ -t 0 && -t 1 ]] && command=terminal || command=$without_terminal
    ;;
  check | show | up | exec | down) shift ;;
  -h | --help | help)
    usage
    exit
    ;;
  *)
    [[ $command == -* ]] || say "${0##*/}: no lab and no command is called '$command'; 'scripts/lab.sh list' has the labs" >&2
    usage >&2
    exit 2
    ;;
esac

state_locate
become_able "$command" "$@"
use_commands
"cmd_$command" "$@"
