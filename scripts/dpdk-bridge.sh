#!/usr/bin/env bash
# Puts DPDK's testpmd between a network card and tsvs, and keeps it there.
#
#   scripts/dpdk-bridge.sh [OPTIONS] NIC LINK
#
#   NIC   0000:03:00.0   a card that DPDK drives, by its PCI address
#         packet:IF      an interface of the system, by packet sockets: for the lab
#         tap:IF         a TAP that testpmd makes: for the lab
#   LINK  memif:SOCKET   packet rings in shared memory; tsvs runs with --link memif:SOCKET
#         tap:IF         without memif: a TAP, by packet sockets; tsvs runs with --link tap:IF
#
#   --cores LIST    cores that poll, each all the time (the last one this process may use)
#   --queues N      pairs of rings or of the card's queues (1)
#   --ring N        log2 of the entries of a memif ring, if testpmd is asked for it (10)
#   --id N          names the memif interface (0)
#   --secret WORD   of memif, at most 24 bytes
#   --memory MB     for packet buffers (256)
#   --stats         shows testpmd's statistics every second, which takes another core
#
# A testpmd that ends is started again, after 0.1 s at first and 10 s at most. SIGTERM or SIGINT ends both.
# Exit codes: 0 told to end, 1 cannot begin.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/shell.sh"

cores='' queues=1 ring=10 id=0 secret='' memory=256 stats=/dev/null
words=()
while (($# > 0)); do
  case $1 in
    --cores | --queues | --ring | --id | --secret | --memory)
      (($# > 1)) || die "$1 needs a value"
      printf -v "${1#--}" '%s' "$2"
      shift
      ;;
    --stats) stats=/dev/stdout ;;
    -h | --help)
      sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    -*) die "unknown option $1; --help tells them" ;;
    *) words+=("$1") ;;
  esac
  shift
done
((${#words[@]} == 2)) || die "a NIC and a LINK are needed; --help tells what they look like"
nic=${words[0]} link=${words[1]}
for number in "$queues" "$ring" "$id" "$memory"; do
  [[ $number =~ ^[0-9]+$ ]] || die "'$number' is not a number"
done
((queues >= 1)) || die "--queues $queues: 1 or more"
command -v dpdk-testpmd >/dev/null || die "dpdk-testpmd is not installed (on Debian: apt-get install --no-install-recommends dpdk-dev)"

# The devices, as DPDK is told of them. Frames of up to 2,020 bytes fit into a packet socket's ring like this.
packet_device() { printf -- '--vdev=net_af_packet%s,iface=%s,blocksz=4096,framesz=2048,framecnt=512,qpairs=%s' "$1" "$2" "$queues"; }

interface() {
  [[ -e /sys/class/net/$1 ]] || die "there is no interface $1 here${2:-}"
  ip link set "$1" up
}

devices=()
huge=(--no-huge -m "$memory")
pci=(--no-pci)
case $nic in
  packet:?*)
    interface "${nic#*:}"
    devices+=("$(packet_device 0 "${nic#*:}")")
    ;;
  tap:?*) devices+=("--vdev=net_tap0,iface=${nic#*:}") ;;
  *:*:*.*)
    driver=$(basename "$(readlink "/sys/bus/pci/devices/$nic/driver" || echo none)")
    [[ -e /sys/bus/pci/devices/$nic ]] || die "there is no PCI device $nic (dpdk-devbind.py --status shows them)"
    case $driver in
      vfio-pci | igb_uio | uio_pci_generic | mlx4_core | mlx5_core) ;;
      *) die "$nic belongs to the driver $driver: dpdk-devbind.py --bind=vfio-pci $nic gives it to DPDK" ;;
    esac
    grep -q '^HugePages_Free: *[1-9]' /proc/meminfo ||
      die "no huge pages are free: echo 256 >/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
    huge=(-m "$memory")
    pci=(-a "$nic")
    ;;
  *) die "'$nic': a PCI address, packet:IF or tap:IF" ;;
esac
socket=''
case $link in
  memif:?*)
    socket=$(realpath -m "${link#*:}")
    ((${#socket} <= 107)) || die "$socket: the path of a unix socket has at most 107 bytes"
    devices+=("--vdev=net_memif0,role=server,id=$id,socket=$socket,socket-abstract=no,rsize=$ring,bsize=2048${secret:+,secret=$secret}")
    ;;
  tap:?*)
    interface "${link#*:}" ': start tsvs first, which makes it'
    devices+=("$(packet_device 1 "${link#*:}")")
    ;;
  *) die "'$link': memif:SOCKET or tap:IF" ;;
esac

# The main thread only waits, so it may run anywhere; each core of the list polls.
allowed=$(taskset -cp $$ | sed 's/.*: //')
cores=${cores:-${allowed##*[,-]}}
IFS=, read -ra polling <<<"$cores"
places="0@($allowed)"
for i in "${!polling[@]}"; do places+=",$((i + 1))@${polling[i]}"; done

testpmd=(dpdk-testpmd --lcores "$places" "${huge[@]}" "${pci[@]}" "--file-prefix=tsvs-$$" --no-telemetry --log-level=warning
  "${devices[@]}" -- --forward-mode=io --port-topology=paired --total-num-mbufs=16384 --no-mlockall --no-numa --auto-start
  "--nb-cores=${#polling[@]}" "--rxq=$queues" "--txq=$queues" --disable-link-check)
[[ $stats == /dev/null ]] || testpmd+=(--stats-period 1)

# What testpmd waits for is its input's end, which never comes. (For a period of statistics its main thread would wait busily.)
fifo=$(mktemp -u)
mkfifo "$fifo"
exec 3<>"$fifo"
rm "$fifo"

child=0 ending=''
end() {
  ending=yes
  ((child == 0)) || kill -TERM "$child" 2>/dev/null || true
}
trap end TERM INT HUP

# Waits for the child, however often signals interrupt that.
settle() {
  local status=0
  while kill -0 "$child" 2>/dev/null; do
    status=0
    wait "$child" || status=$?
  done
  child=0
  return "$status"
}

pause=100
while [[ -z $ending ]]; do
  [[ -z $socket ]] || rm -f "$socket"
  began=$SECONDS
  # It ends with us, even if we are killed.
  setpriv --pdeathsig TERM -- "${testpmd[@]}" <&3 3>&- >"$stats" &
  child=$!
  say "dpdk-bridge: testpmd $child between $nic and $link, polling on core $cores"
  status=0
  settle || status=$?
  [[ -z $ending ]] || break
  ((SECONDS - began < 10)) || pause=100
  say "dpdk-bridge: testpmd ended with status $status; again in $pause ms"
  sleep "$((pause / 1000)).$(printf %03d $((pause % 1000)))" &
  child=$!
  settle || true
  pause=$((pause * 2 < 10000 ? pause * 2 : 10000))
done
[[ -z $socket ]] || rm -f "$socket"
say 'dpdk-bridge: ended'
