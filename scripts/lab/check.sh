# What the lab shows: each check prints one line and fails when it does not hold. Sourced by lab.sh.

balance_limit=40
transfer_bytes=10000000
shutdown_limit_s=15

ok() { printf 'ok    %s\n' "$*"; }

fail() {
  printf 'FAIL  %s\n' "$*"
  return 1
}

url() { if (($1 == 80)); then printf 'http://%s/' "$vip"; else printf 'http://%s:%s/' "$vip" "$1"; fi; }

check_ping() {
  local output average
  output=$(at client ping -c 3 -i 0.2 -W 2 "$vip" 2>&1) || true
  [[ $output == *' 3 received'* ]] || fail "ping $vip: $(grep -o '[0-9]* received' <<<"$output" || tail -n 1 <<<"$output") of 3" || return
  average=$(sed -n 's|^rtt .*= [0-9.]*/\([0-9.]*\)/.*|\1|p' <<<"$output")
  ok "ping $vip: 3 of 3 answered, $average ms on average"
}

# New connections to the first port until every real server has answered once.
check_balance() {
  local -A answers=()
  local tries answer counts
  for ((tries = 1; tries <= balance_limit; tries++)); do
    answer=$(get "$(url "${ports[0]}")" 2>&1) || fail "curl $(url "${ports[0]}"): $answer" || return
    answers[$answer]=$((${answers[$answer]:-0} + 1))
    ((${#answers[@]} < ${#server_ips[@]})) || break
  done
  counts=$(for answer in "${!answers[@]}"; do printf '%s x %d\n' "$answer" "${answers[$answer]}"; done | sort | paste -s -d ',')
  ((${#answers[@]} == ${#server_ips[@]})) ||
    fail "curl $(url "${ports[0]}"): only ${counts//,/, } in $balance_limit connections" || return
  ok "curl $(url "${ports[0]}"): ${counts//,/, }"
}

check_other_ports() {
  local port answer
  for port in "${ports[@]:1}"; do
    answer=$(get "$(url "$port")" 2>&1) || fail "curl $(url "$port"): $answer" || return
    ok "curl $(url "$port"): $answer"
  done
}

digest() { at client curl --silent --show-error --fail --max-time 60 "$1bytes/$transfer_bytes" | sha256sum; }

check_transfer() {
  local through direct began=${EPOCHREALTIME//[!0-9]/} ms
  through=$(digest "$(url "${ports[0]}")") || fail "fetching $transfer_bytes bytes through the VIP" || return
  ms=$(((${EPOCHREALTIME//[!0-9]/} - began) / 1000))
  direct=$(digest "http://${server_ips[1]}:${server_ports[1]}/") || fail "fetching from rs-1 directly" || return
  [[ $through == "$direct" ]] || fail "$transfer_bytes bytes through the VIP: SHA-256 differs from the direct one" || return
  ok "$((transfer_bytes / 1000000)) MB through the VIP in $ms ms: SHA-256 as from the server directly"
}

check_shutdown() {
  local began=${EPOCHREALTIME//[!0-9]/} ms status=0
  end_processes TERM tsvs $((shutdown_limit_s * 10)) || fail "SIGTERM: tsvs still runs after $shutdown_limit_s s" || return
  ms=$(((${EPOCHREALTIME//[!0-9]/} - began) / 1000))
  wait "$tsvs" || status=$?
  ((status == 0)) || fail "SIGTERM: tsvs ended with $status" || return
  ok "SIGTERM: tsvs ended with 0 after $ms ms"
}
