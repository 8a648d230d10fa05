# The wires: a namespace per host, a bridge in the switch, a veth pair to each host, and the TAP that tsvs attaches to,
# another port of the bridge. Nothing touches the machine's own network. Sourced by lab.sh.

at() {
  local host=$1
  shift
  ip netns exec "$lab-$host" "$@"
}

build_network() {
  local host i
  keep_namespaces
  for host in $(hosts); do add_host "$host"; done
  ip -n "$lab-switch" link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0
  ip -n "$lab-switch" link set br0 up
  plug client "$client_ip" 00:00:00:00:00:00
  for i in "${!server_ips[@]}"; do plug "rs$i" "${server_ips[i]}" "${server_macs[i]}"; done
  ip -n "$lab-switch" tuntap add "$tap" mode tap
  ip -n "$lab-switch" link set "$tap" master br0 up
}

add_host() {
  ip netns add "$lab-$1"
  ip -n "$lab-$1" link set lo up
  # Only what the lab sends is on its wires: no IPv6 autoconfiguration. Kernels without IPv6 have nothing to switch off.
  at "$1" sh -c 'cd /proc/sys/net/ipv6/conf 2>/dev/null || exit 0; echo 1 >all/disable_ipv6; echo 1 >default/disable_ipv6'
}

# Joins host $1 to the bridge with address $2 and MAC $3 (all zero: whichever the kernel chooses).
plug() {
  ip -n "$lab-switch" link add "$1" type veth peer name eth0 netns "$lab-$1"
  [[ $3 == 00:00:00:00:00:00 ]] || ip -n "$lab-$1" link set eth0 address "$3"
  ip -n "$lab-$1" addr add "$2/$prefix" dev eth0
  ip -n "$lab-$1" link set eth0 up
  ip -n "$lab-switch" link set "$1" master br0 up
}

remove_network() {
  local host pids
  for host in $(hosts); do
    [[ -e /run/netns/$lab-$host ]] || continue
    pids=$(ip netns pids "$lab-$host" | tr '\n' ' ')
    [[ -z $pids ]] || say "note: still running in $host, and not started by the lab: process ${pids% }" >&2
    ip netns del "$lab-$host"
  done
}
