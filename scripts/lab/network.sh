# The wires: a namespace per host, bridges in the switch, a veth pair to each host, and the TAPs that tsvs attaches to,
# further ports of the bridges. Nothing touches the machine's own network. Sourced by lab.sh.

at() {
  local place
  place=$(namespace "$1")
  shift
  ip netns exec "$place" "$@"
}

build_network() {
  local name wire tap
  keep_namespaces
  for name in switch "${hosts[@]}"; do add_host "$name"; done
  for wire in "${wires[@]}"; do
    ip -n "$lab-switch" link add "$wire" type bridge stp_state 0 forward_delay 0 mcast_snooping 0
    ip -n "$lab-switch" link set "$wire" up
  done
  # shellcheck disable=SC2086 # the interfaces are words
  for name in "${hosts[@]}"; do plug "$name" ${interfaces[$name]}; done
  for tap in "${taps[@]}"; do
    read -r name wire <<<"$tap"
    ip -n "$lab-switch" tuntap add "$name" mode tap
    ip -n "$lab-switch" link set "$name" master "$wire" up
  done
}

add_host() {
  ip netns add "$lab-$1"
  ip -n "$lab-$1" link set lo up
  # Only what the lab sends is on its wires: no IPv6 autoconfiguration. Kernels without IPv6 have nothing to switch off.
  at "$1" sh -c 'cd /proc/sys/net/ipv6/conf 2>/dev/null || exit 0; echo 1 >all/disable_ipv6; echo 1 >default/disable_ipv6'
}

# Joins host $1 to the wires that follow, each with its addresses.
plug() {
  local name=$1 device port address i
  shift
  for ((i = 0; $# > 0; i++)); do
    device=eth$i port=$name
    ((i == 0)) || port=$name-$device
    ip -n "$lab-switch" link add "$port" type veth peer name "$device" netns "$lab-$name"
    for address in ${2//,/ }; do ip -n "$lab-$name" addr add "$address" dev "$device"; done
    ip -n "$lab-$name" link set "$device" up
    ip -n "$lab-switch" link set "$port" master "$1" up
    shift 2
  done
}

remove_network() {
  local name pids
  for name in "${hosts[@]}" switch; do
    [[ -e /run/netns/$lab-$name ]] || continue
    pids=$(ip netns pids "$lab-$name" | tr '\n' ' ')
    [[ -z $pids ]] || say "note: still running in $name, and not started by the lab: process ${pids% }" >&2
    ip netns del "$lab-$name"
  done
}
