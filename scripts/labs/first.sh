# The first lab: mode proxy, with the very file the README shows. Its addresses are read from that file, so that the lab
# always fits what tsvs is given. A description of a lab: see plan.sh.

about='client and two real servers in one network, tsvs in mode proxy'
config=config/lb.conf
needs=lab

balance_limit=40
transfer_bytes=10000000

# The value of key $2 in section [$1] of the configuration; nothing when it is not there.
setting() {
  awk -v section="[$1]" -v key="$2" '
    { sub(/[#;].*/, ""); gsub(/^[ \t\r]+|[ \t\r]+$/, "") }
    /^\[/ { here = ($0 == section); next }
    here && index($0, "=") {
      name = substr($0, 1, index($0, "=") - 1); value = substr($0, index($0, "=") + 1)
      gsub(/[ \t]+$/, "", name); gsub(/^[ \t]+/, "", value)
      if (name == key) { print value; exit }
    }' "$project/$config"
}

prefix_length() {
  local octet bits=0
  for octet in ${1//./ }; do
    while ((octet > 0)); do
      bits=$((bits + (octet & 1)))
      octet=$((octet >> 1))
    done
  done
  printf '%d' "$bits"
}

# Sets vip, ports, client_ip (the file's gateway), and server_ips and server_ports, from 1 on; names hosts and wires.
read_plan() {
  local i row prefix
  vip=$(setting vip ip)
  read -ra ports <<<"$(setting vip ports | tr ',' ' ')"
  client_ip=$(setting network gateway)
  prefix=$(prefix_length "$(setting network netmask)")
  [[ -n $vip && -n ${ports[*]} && -n $client_ip ]] ||
    die "$config: the lab needs [vip] ip and ports, [network] gateway and netmask, and a real server"
  wire br0
  tap tap0 br0
  host client br0 "$client_ip/$prefix"
  about="client $client_ip, VIP $vip (tsvs on tap0)"
  server_ips=() server_ports=() server_macs=()
  for ((i = 1; i <= $(setting realserver count); i++)); do
    row=$(setting realserver "server$i")
    [[ $row =~ ^([0-9.]+):([0-9]+):[0-9]+:([0-9A-Fa-f:]{17})$ ]] || die "$config: server$i = '$row' is not ip:port:weight:mac"
    server_ips[i]=${BASH_REMATCH[1]}
    server_ports[i]=${BASH_REMATCH[2]}
    server_macs[i]=${BASH_REMATCH[3]}
    host "rs$i" br0 "${server_ips[i]}/$prefix"
    web "rs$i" "${server_ports[i]}"
    about+=", rs-$i ${server_ips[i]}"
  done
}

prepare() {
  local i
  for i in "${!server_macs[@]}"; do
    [[ ${server_macs[i]} == 00:00:00:00:00:00 ]] || ip -n "$lab-rs$i" link set eth0 address "${server_macs[i]}"
  done
}

tour() {
  check_ping
  check_balance
  check_other_ports
  check_transfer
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

read_plan
hint="curl $(url "${ports[0]}")"
