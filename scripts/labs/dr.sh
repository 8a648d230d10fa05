# Direct routing. The words of a description are in scripts/lab/plan.sh, those of a tour in steps.sh.

about='direct routing: the servers have the VIP, and answer the client themselves'
config=config/labs/dr.conf
hint='curl http://192.168.100.10/from'

one_arm
web rs1
web rs2

prepare() {
  local server
  for server in rs1 rs2; do
    run $server sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
    run $server ip addr add 192.168.100.10/32 dev lo
  done
}

tour() {
  times 4 client curl -s http://192.168.100.10/from
  holds 'round robin: two requests each' counted 2 '^rs-1 '
  holds 'the servers see the client itself' counted 4 'sees 192\.168\.100\.1:'
  run client ip neigh show 192.168.100.10
  holds 'for the client the VIP is at tsvs: no server answers ARP for it' has 'lladdr 02:00:c0:a8:64:0a'

  note 'one request as the client sees it, with MAC addresses'
  sniff client tcpdump -tne -i eth0 'tcp[tcpflags] & tcp-syn != 0'
  run client curl -s http://192.168.100.10/
  sniffed
  sees 'the SYN goes to tsvs' has '> 02:00:c0:a8:64:0a, .*192\.168\.100\.10\.80: Flags \[S\]'
  sees 'the SYN-ACK comes from the server' has "^$(mac_of rs1 eth0) > .*192\\.168\\.100\\.10\\.80 > .*Flags \\[S\\.\\]"

  note 'a megabyte from each server'
  times 2 client curl -s -o /dev/null -w '%{size_download}\n' http://192.168.100.10/bytes/1000000
  holds 'it arrives' counted 2 '^1000000$'
  run tsvs tsvs ipvsadm -Ln --stats
  holds 'tsvs has seen the packets of the clients, and not one of the answers' has '^TCP +192\.168\.100\.10:80 +7 +[1-9][0-9]* +0 +[1-9][0-9KMG]* +0$'
  run tsvs tsvs why 192.168.100.1:40000 192.168.100.10:80
  holds 'tsvs why names the choice, and says that nothing else changes' has 'nothing but the MAC addresses'
}
