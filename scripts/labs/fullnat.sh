# FullNAT, one arm. The words of a description are in scripts/lab/plan.sh, those of a tour in steps.sh.

about='FullNAT, one arm: clients, servers and tsvs in one network'
config=config/labs/fullnat.conf
hint='curl http://192.168.100.10/from'

one_arm
web rs1
web rs2

tour() {
  run client ping -c 2 -i 0.2 192.168.100.10
  holds 'tsvs answers pings of the VIP itself' has ' 2 received'
  times 4 client curl -s http://192.168.100.10/from
  holds 'round robin: two requests each' counted 2 '^rs-1 '
  holds 'the servers see the local addresses of tsvs, not the client' counted 4 'sees 192\.168\.100\.2[01]:'

  note 'one request, on both sides of tsvs'
  sniff tsvs tcpdump -tn -i tap0 'tcp[tcpflags] & (tcp-syn|tcp-push) != 0'
  run client curl -s http://192.168.100.10/
  sniffed
  sees 'the client talks to the VIP' has '192\.168\.100\.1\.[0-9]+ > 192\.168\.100\.10\.80: Flags \[S\]'
  sees 'and a local address to the server' has '192\.168\.100\.2[01]\.[0-9]+ > 192\.168\.100\.1[12]\.80: Flags \[S\]'

  note 'what tsvs knows of it'
  run tsvs tsvs ipvsadm -Ln
  holds 'both servers are listed with mode FullNat' counted 2 'FullNat'
  run tsvs tsvs conn list
  holds 'each connection has its local address' has '^tcp .* 192\.168\.100\.2[01]:[0-9]+ +fnat '
}
