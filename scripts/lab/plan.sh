# The plan of the lab: who is where. Addresses come from config/lb.conf, so that the lab always fits the file that
# tsvs is given. Sourced by lab.sh.

lab=${TSVS_LAB:-tsvs}
config=$project/config/lb.conf
tap=tap0

# The value of key $2 in section [$1] of the configuration; nothing when it is not there.
setting() {
  awk -v section="[$1]" -v key="$2" '
    { sub(/[#;].*/, ""); gsub(/^[ \t\r]+|[ \t\r]+$/, "") }
    /^\[/ { here = ($0 == section); next }
    here && index($0, "=") {
      name = substr($0, 1, index($0, "=") - 1); value = substr($0, index($0, "=") + 1)
      gsub(/[ \t]+$/, "", name); gsub(/^[ \t]+/, "", value)
      if (name == key) { print value; exit }
    }' "$config"
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

# Sets vip, ports, client_ip (the file's gateway), prefix, and server_ips, server_ports, server_macs, from 1 on.
read_plan() {
  local i row
  [[ $lab =~ ^[a-z0-9]([a-z0-9-]{0,30})$ ]] || die "TSVS_LAB: '$lab' is no name of small letters, digits and dashes"
  [[ -r $config ]] || die "cannot read $config"
  vip=$(setting vip ip)
  read -ra ports <<<"$(setting vip ports | tr ',' ' ')"
  client_ip=$(setting network gateway)
  prefix=$(prefix_length "$(setting network netmask)")
  server_ips=() server_ports=() server_macs=()
  for ((i = 1; i <= $(setting realserver count); i++)); do
    row=$(setting realserver "server$i")
    [[ $row =~ ^([0-9.]+):([0-9]+):[0-9]+:([0-9A-Fa-f:]{17})$ ]] || die "$config: server$i = '$row' is not ip:port:weight:mac"
    server_ips[i]=${BASH_REMATCH[1]}
    server_ports[i]=${BASH_REMATCH[2]}
    server_macs[i]=${BASH_REMATCH[3]}
  done
  [[ -n $vip && -n ${ports[*]} && -n $client_ip && ${#server_ips[@]} -gt 0 ]] ||
    die "$config: the lab needs [vip] ip and ports, [network] gateway and netmask, and a real server"
}

hosts() {
  local i
  say client switch
  for i in "${!server_ips[@]}"; do say "rs$i"; done
}

is_host() {
  local host
  for host in $(hosts); do [[ $host == "$1" ]] && return; done
  return 1
}

describe() {
  local i servers=''
  for i in "${!server_ips[@]}"; do servers+=", rs-$i ${server_ips[i]}"; done
  say "lab: client $client_ip, VIP $vip (tsvs on $tap)$servers"
}
