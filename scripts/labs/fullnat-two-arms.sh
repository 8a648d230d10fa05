# FullNAT, two arms. The words of a description are in scripts/lab/plan.sh, those of a tour in steps.sh.

about='FullNAT, two arms: servers in a network of their own'
config=config/labs/fullnat-two-arms.conf
hint='curl http://192.168.100.10/from'

two_arms
web rs1
web rs2

tour() {
  run rs1 ip route
  holds 'the servers have no route but to their own network' counted 1 .
  times 4 client curl -s http://192.168.100.10/from
  holds 'round robin: two requests each' counted 2 '^rs-2'
  holds 'the servers see the local addresses of tsvs on the inner link' counted 4 'sees 10\.1\.0\.2[01]:'

  note 'one request, on both links'
  sniff tsvs tcpdump -tn -i any 'tcp[tcpflags] & tcp-syn != 0'
  run client curl -s http://192.168.100.10/
  sniffed tap
  sees 'the SYN comes by tap0' has '^tap0 .* 192\.168\.100\.1\.[0-9]+ > 192\.168\.100\.10\.80: Flags \[S\]'
  sees 'and leaves by tap1' has '^tap1 .* 10\.1\.0\.2[01]\.[0-9]+ > 10\.1\.0\.1[12]\.80: Flags \[S\]'

  note 'tsvs on its two links'
  run tsvs tsvs dpip addr show
  run tsvs tsvs neigh
  holds 'the client is a neighbour on one link, the servers on the other' has '^10\.1\.0\.11 +inside'
}
