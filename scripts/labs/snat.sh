# SNAT gateway. The words of a description are in scripts/lab/plan.sh, those of a tour in steps.sh.

about='SNAT gateway: hosts behind tsvs reach the world from a pool of addresses'
config=config/labs/snat.conf
hint='curl http://198.51.100.80/from'
shell_host=pc1

wire wan
wire lan
wire net
tap tap0 wan
tap tap1 lan
host router wan 192.0.2.1/24 net 198.51.100.1/24
host world net 198.51.100.80/24
host pc1 lan 10.1.0.11/24
host pc2 lan 10.1.0.12/24
web world

prepare() {
  run pc1 ip route add default via 10.1.0.2
  run pc2 ip route add default via 10.1.0.2
  run router sysctl -qw net.ipv4.ip_forward=1
  run world ip route add default via 198.51.100.1
}

tour() {
  run world ip route
  holds 'the world knows nothing of 10.1.0.0' has_not '10\.1\.0'
  local pc
  for pc in pc1 pc2; do
    times 2 $pc curl -s http://198.51.100.80/from
    holds "the world sees $pc come from an address of the pool" counted 2 'sees 192\.0\.2\.2[01]:'
  done

  note 'pings and errors find their way back, too'
  run pc1 ping -c 2 -i 0.2 198.51.100.80
  holds 'a ping of the world is answered, two hops away' has 'ttl=62'
  try pc1 ping -c 1 -t 2 198.51.100.80
  holds 'and the router says that TTL ran out' has 'From 192\.0\.2\.1 .*Time to live exceeded'

  note 'from a host to the world, on both links'
  sniff tsvs tcpdump -tn -i any 'tcp[tcpflags] & tcp-syn != 0'
  run pc2 curl -s http://198.51.100.80/
  sniffed tap
  sees 'the source is rewritten on the way out' has '^tap0 +P +IP 192\.0\.2\.2[01]\.[0-9]+ > 198\.51\.100\.80\.80: Flags \[S\]'
  sees 'and the destination on the way back' has '^tap1 +P +IP 198\.51\.100\.80\.80 > 10\.1\.0\.12\.[0-9]+: Flags \[S\.\]'
  run tsvs tsvs conn list
  holds 'tsvs knows who is who' has '198\.51\.100\.80:80 +192\.0\.2\.2[01]:[0-9]+ +10\.1\.0\.1[12]:'

  note 'nobody comes in by himself'
  run world ip route add 10.1.0.0/24 via 198.51.100.1
  run router ip route add 10.1.0.0/24 via 192.0.2.20
  try world curl -sS --connect-timeout 1 http://10.1.0.11/
  holds 'a connection from the world to a host inside is not let in' has 'timed out|[Tt]imeout'
  run tsvs tsvs drops
  holds 'it was dropped for want of a match' has '^ip_not_local'
  run tsvs tsvs why 198.51.100.80:40000 10.1.0.11:80
  holds 'tsvs why says it beforehand' has 'would be dropped: ip_not_local'
  run tsvs tsvs why 10.1.0.11:40000 198.51.100.80:80
  holds 'and what becomes of the other direction' has 'becomes 192\.0\.2\.2[01]:'
}
