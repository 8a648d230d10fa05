# What a tour of a lab is made of: commands as an operator types them, with their output, and what must hold of it. With
# `quiet` only the latter is printed. The first that does not hold ends the lab, with exit code 1. Sourced by lab.sh.

shutdown_limit_s=15

ok() { printf 'ok    %s\n' "$*"; }

fail() {
  printf 'FAIL  %s\n' "$*"
  return 1
}

show() { [[ -n $quiet ]] || printf '%s\n' "$@"; }

# A remark for who reads the tour.
note() { show '' "# $*"; }

# The words of a command as one would type them.
typed() {
  local word text=''
  for word in "$@"; do
    [[ $word =~ ^[a-zA-Z0-9_./:=,@%+#-]+$ ]] || word="'$word'"
    text+=" $word"
  done
  printf '%s' "${text# }"
}

# run WHERE CMD...: prints the command and its output, which is also left in `out`. It has to succeed.
run() {
  local place=$1 status=0
  shift
  show "$place\$ $(typed "$@")"
  out=$(at "$place" "$@" 2>&1) || status=$?
  [[ -z $out ]] || show "$out"
  ((status == 0)) || fail "$place\$ $*: ${out:-exit code $status}"
}

# try WHERE CMD...: the same, but it may fail.
try() {
  local place=$1
  shift
  show "$place\$ $(typed "$@")"
  out=$(at "$place" "$@" 2>&1) || true
  show "$out"
}

# times N WHERE CMD...: the same N times; `out` has all the answers.
times() {
  local n=$1 place=$2 i answer all=''
  shift 2
  show "$place\$ for i in \$(seq $n); do $(typed "$@"); done"
  for ((i = 0; i < n; i++)); do
    answer=$(at "$place" "$@" 2>&1) || fail "$place\$ $*: $answer" || return
    all+=$answer$'\n'
  done
  out=${all%$'\n'}
  show "$out"
}

# holds WHAT CMD...: the command, a test of what came out, succeeds. Its text is what a check prints.
holds() {
  local what=$1
  shift
  "$@" || {
    printf '%s\n' "${out:-}" | sed 's/^/  | /'
    fail "$what"
  } || return
  ok "$what"
}

# Tests for `holds`.
has() { grep -qE -- "$1" <<<"$out"; }
has_not() { ! has "$1"; }
# counted N PATTERN: so many lines of `out` match.
counted() { (($(grep -cE -- "$2" <<<"$out") == $1)); }
# differing N: so many different lines.
differing() { (($(sort -u <<<"$out" | grep -c .) == $1)); }
is() { [[ $1 == "$2" ]]; }

# sniff WHERE tcpdump ARGS...: has it listen. `sniffed` ends it, prints what it saw, or the lines of that which have the
# text $1, and leaves it in `out`; `sees` is `holds` for that. tcpdump as root becomes another user, which a user namespace
# refuses: there nothing is seen, and that is said.
sniff() {
  local place=$1
  shift
  sniffer_command="$place\$ $(typed "$@")"
  # Each packet at once; with a short snapshot, otherwise the kernel's ring has room for very few.
  start sniffer "$place" "$1" --immediate-mode -s 256 -U -l "${@:2}"
  await "tcpdump at $place" grep -qE "listening on|Couldn't change to" "$state/sniffer.log"
  blind=''
  ! grep -q "Couldn't change to" "$state/sniffer.log" || blind='tcpdump refuses to run in a user namespace'
}

sniffed() {
  local before=-1 now
  # What it has not read when it is ended it does not print: wait until there is no more.
  for ((now = 0; before != now; )); do
    before=$now
    sleep 0.25
    now=$(stat -c %s "$state/sniffer.log")
  done
  end_processes INT sniffer 50 || fail 'tcpdump does not end'
  out=$(grep -vE '^(tcpdump:|listening on|[0-9]+ packets?|$)' "$state/sniffer.log" || true)
  if [[ -n ${1:-} ]]; then
    sniffer_command+=" | grep $1"
    out=$(grep -F -- "$1" <<<"$out" || true)
  fi
  show "$sniffer_command" "${blind:-$out}"
}

sees() { if [[ -n $blind ]]; then printf 'skip  %s: %s\n' "$1" "$blind"; else holds "$@"; fi; }

# begin WHERE CMD...: has it run while the tour goes on; `interrupted` ends it as Control-C does, prints its output and
# leaves that in `out`.
begin() {
  local place=$1
  shift
  show "$place\$ $(typed "$@") &"
  job=$place
  start job "$place" "$@"
}

interrupted() {
  end_processes INT job 50 || fail 'it does not end'
  out=$(<"$state/job.log")
  show "$job\$ kill -INT %1" "$out"
}

# The MAC address of interface $2 at host $1.
mac_of() { at "$1" cat "/sys/class/net/$2/address"; }

# What the control socket says of PATH: quicker than a command, where something is asked many times.
ask() { curl --silent --fail --max-time 5 --unix-socket "$state/tsvs.sock" "http://tsvs/v1/$1"; }

# A number of server $2 of service $1, as conns or active.
number_of() { ask "services/$1/servers/$2" | sed -n "s/.*\"$3\":\([0-9]*\).*/\1/p"; }
state_of() { ask "services/$1/servers/$2" | sed -n 's/.*"state":"\([a-z]*\)".*/\1/p'; }

check_shutdown() {
  local began=${EPOCHREALTIME//[!0-9]/} ms status=0
  end_processes TERM tsvs $((shutdown_limit_s * 10)) || fail "SIGTERM: tsvs still runs after $shutdown_limit_s s" || return
  ms=$(((${EPOCHREALTIME//[!0-9]/} - began) / 1000))
  wait "$tsvs" || status=$?
  ((status == 0)) || fail "SIGTERM: tsvs ended with $status" || return
  ok "SIGTERM: tsvs ended with 0 after $ms ms"
}
