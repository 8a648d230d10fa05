# The programs of the lab: the real servers and tsvs, each in its namespace. Sourced by lab.sh.

start_limit_s=15

# Starts a program at host $2 under the role $1, its output in a file of that name. setsid: an interrupt typed at the
# terminal is for the script, which then ends its programs in order.
start() {
  local role=$1 place
  place=$(namespace "$2")
  shift 2
  setsid ip netns exec "$place" "$@" </dev/null >"$state/$role.log" 2>&1 &
  started=$!
  remember "$role" "$started"
}

start_real_servers() {
  local row
  for row in "${servers[@]}"; do start_server "${row%% *}"; done
  for row in "${servers[@]}"; do await_server "${row%% *}"; done
}

# Starts the program that the description names for host $1.
start_server() {
  local row place program port
  for row in "${servers[@]}"; do
    read -r place program port <<<"$row"
    [[ $place != "$1" ]] || start "$place" "$place" node "$project/scripts/lab/$program" "$(server_name "$place")" 0.0.0.0 "$port"
  done
}

await_server() { await "$(server_name "$1") to listen" grep -q 'listens on' "$state/$1.log" || exit 1; }

# rs1 answers as rs-1.
server_name() { if [[ $1 =~ ^rs[0-9]+$ ]]; then printf 'rs-%s' "${1#rs}"; else printf '%s' "$1"; fi; }

start_tsvs() {
  start_tsvs_at switch tsvs "$project/$config"
  tsvs=$started
  tsvs_start=$(start_time "$tsvs") || true
  await 'tsvs to be ready' is_ready tsvs || exit 1
}

# start_tsvs_at PLACE ROLE CONFIG: one more tsvs; `is_ready ROLE` says when it serves.
start_tsvs_at() {
  start "$2" "$1" node "$project/dist/bin.js" run --config "$3" --control "$state/$2.sock" --log json
}

is_ready() { grep -q '"msg":"ready"' "$state/$1.log"; }

# Has commands of the lab, and shells in it, find `tsvs` and `ipvsadm`, which ask this lab's tsvs.
use_commands() {
  export TSVS_CONTROL=$state/tsvs.sock
  PATH=$state/bin:$PATH
}

make_commands() {
  mkdir "$state/bin"
  printf '#!/bin/sh\nexec node "%s/dist/bin.js" "$@"\n' "$project" >"$state/bin/tsvs"
  printf '#!/bin/sh\nexec node "%s/dist/ipvsadm.js" "$@"\n' "$project" >"$state/bin/ipvsadm"
  chmod +x "$state"/bin/*
}

# The body of URL $1 as the client gets it, over a new connection.
get() { at client curl --silent --show-error --fail --max-time 5 "$1"; }

# Waits until command $2... succeeds; says what it waited for ($1) when the limit passes or tsvs has died.
await() {
  local what=$1 deadline=$((SECONDS + start_limit_s))
  shift
  until "$@" >/dev/null 2>&1; do
    if [[ -n ${tsvs:-} ]] && ! is_alive "$tsvs" "$tsvs_start"; then
      say "tsvs has ended; the lab waited for $what" >&2
      return 1
    fi
    if ((SECONDS >= deadline)); then
      say "waited $start_limit_s s in vain for $what" >&2
      return 1
    fi
    sleep 0.05
  done
}

show_log_tail() {
  [[ -s $state/tsvs.log ]] || return 0
  say "the end of tsvs' log:" >&2
  tail -n 30 "$state/tsvs.log" | sed 's/^/  | /' >&2
}
