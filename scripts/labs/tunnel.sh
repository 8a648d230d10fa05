# IPIP tunnels. The words of a description are in scripts/lab/plan.sh, those of a tour in steps.sh.

about='IPIP tunnels: servers behind a router, which answer the client themselves'
config=config/labs/tunnel.conf
hint='curl http://192.168.100.10/from'

wire lan
wire far
tap tap0 lan
host client lan 192.168.100.1/24
host router lan 192.168.100.254/24 far 10.1.0.254/24
host rs1 far 10.1.0.11/24
host rs2 far 10.1.0.12/24
web rs1
web rs2

prepare() {
  run router sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0
  run router ip route add 10.1.1.0/30 via 10.1.0.11
  run router ip route add 10.1.2.0/30 via 10.1.0.12
  tunnel_end 1
  tunnel_end 2
}

# At server $1: the VIP, and a TAP with a tsvs that is the end of the tunnel. What it takes out comes in by that TAP
# although the way back to the client is another, which a reverse path filter would not have.
tunnel_end() {
  local server=rs$1 end=$state/tunnel-end-$1.conf
  run "$server" ip route add default via 10.1.0.254
  run "$server" ip addr add 192.168.100.10/32 dev lo
  run "$server" ip tuntap add ipip0 mode tap
  run "$server" ip addr add "10.1.$1.1/30" dev ipip0
  run "$server" ip link set ipip0 up
  run "$server" sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.ipip0.rp_filter=0
  sed "s/10\.1\.1\./10.1.$1./" "$project/config/labs/tunnel-end.conf" >"$end"
  show "$server\$ tsvs run --config tunnel-end-$1.conf &"
  start_tsvs_at "$server" "end$1" "$end"
  await "the end of the tunnel at $server" is_ready "end$1"
}

tour() {
  times 4 client curl -s http://192.168.100.10/from
  holds 'round robin: two requests each' counted 2 '^rs-1 '
  holds 'the servers see the client itself' counted 4 'sees 192\.168\.100\.1:'

  note 'one request, on the wire between tsvs and the router'
  sniff tsvs tcpdump -tn -i tap0 'ip proto 4'
  run client curl -s http://192.168.100.10/
  sniffed
  sees 'the SYN of the client travels, unchanged, in a packet from tsvs to the end of the tunnel' has '192\.168\.100\.20 > 10\.1\.1\.2: IP 192\.168\.100\.1\.[0-9]+ > 192\.168\.100\.10\.80: Flags \[S\]'

  note 'what comes out of the tunnel at rs1'
  sniff rs1 tcpdump -tn -i any 'tcp[tcpflags] & tcp-syn != 0'
  times 2 client curl -s http://192.168.100.10/
  sniffed
  sees 'the SYN comes in by the tunnel' has '^ipip0 +In  IP 192\.168\.100\.1\.[0-9]+ > 192\.168\.100\.10\.80: Flags \[S\]'
  sees 'the SYN-ACK goes out by eth0' has '^eth0 +Out IP 192\.168\.100\.10\.80 > 192\.168\.100\.1\.[0-9]+: Flags \[S\.\]'
  run rs1 tsvs stats --control "$state/end1.sock"
  holds 'the end counts what it took out' has '^ipip\.packets +[1-9]'

  note 'what must not be fragmented and does not fit into the tunnel'
  run client sh -c 'head -c 100000 /dev/zero | curl -s -o /dev/null -w "%{size_upload}\n" --data-binary @- http://192.168.100.10/'
  holds 'an upload of many full segments arrives' is "$out" 100000
  run client ip route get 192.168.100.10
  holds 'because the client was told the MTU that is left' has 'mtu 1480'
  run tsvs tsvs ipvsadm -Ln --stats
  holds 'tsvs has seen none of the answers' has '^TCP +192\.168\.100\.10:80 +8 +[1-9][0-9]* +0 +[0-9.A-Z]+ +0$'

  note 'a link behind the router that takes less: the router tells tsvs, and tsvs the client'
  run router ip link set eth1 mtu 1300
  sniff client tcpdump -tn -i eth0 'icmp[icmptype] == icmp-unreach'
  run client sh -c 'head -c 100000 /dev/zero | curl -s -o /dev/null -w "%{size_upload}\n" --data-binary @- http://192.168.100.10/'
  holds 'the upload arrives' is "$out" 100000
  sniffed
  sees 'the error comes from the VIP, 20 bytes below what the router said' has '^IP 192\.168\.100\.10 > 192\.168\.100\.1: ICMP 192\.168\.100\.10 unreachable - need to frag \(mtu 1280\)'
  run client ip route get 192.168.100.10
  holds 'the client knows the MTU of the whole way' has 'mtu 1280'
}
