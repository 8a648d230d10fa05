# The programs of the lab: the real servers and tsvs, each in its namespace. Sourced by lab.sh.

start_limit_s=15

# Starts a program at host $2 under the role $1, its output in a file of that name. setsid: an interrupt typed at the
# terminal is for the script, which then ends its programs in order.
start() {
  local role=$1 host=$2
  shift 2
  setsid ip netns exec "$lab-$host" "$@" </dev/null >"$state/$role.log" 2>&1 &
  started=$!
  remember "$role" "$started"
}

start_real_servers() {
  local i
  for i in "${!server_ips[@]}"; do
    start "rs$i" "rs$i" node "$project/scripts/lab/real-server.mjs" "rs-$i" "${server_ips[i]}" "${server_ports[i]}"
  done
  for i in "${!server_ips[@]}"; do
    await "rs-$i to answer" get "http://${server_ips[i]}:${server_ports[i]}/" || exit 1
  done
}

start_tsvs() {
  start tsvs switch node "$project/dist/bin.js" run --config "$config" --link "tap:$tap" \
    --control "$state/tsvs.sock" --log json
  tsvs=$started
  tsvs_start=$(start_time "$tsvs") || true
  await 'tsvs to be ready' tsvs_is_ready || exit 1
}

tsvs_is_ready() { grep -q '"msg":"ready"' "$state/tsvs.log"; }

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
