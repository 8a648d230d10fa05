# NAT. The words of a description are in scripts/lab/plan.sh, those of a tour in steps.sh.

about='NAT: the servers see the client, and answer through tsvs'
config=config/labs/nat.conf
hint='curl http://192.168.100.10:8080/from'

two_arms
web rs1
web rs2

prepare() {
  run rs1 ip route add default via 10.1.0.2
  run rs2 ip route add default via 10.1.0.2
}

tour() {
  times 6 client curl -s http://192.168.100.10:8080/from
  holds 'weights 2 and 1: four requests for rs-1' counted 4 '^rs-1'
  holds 'and two for rs-2' counted 2 '^rs-2'
  holds 'the servers see the client itself' counted 6 'sees 192\.168\.100\.1:'

  note 'one request, on both links'
  sniff tsvs tcpdump -tn -i any 'tcp[tcpflags] & (tcp-syn|tcp-push) != 0'
  run client curl -s http://192.168.100.10:8080/
  sniffed tap
  sees 'the destination is rewritten, port included' has '192\.168\.100\.1\.[0-9]+ > 10\.1\.0\.1[12]\.80: Flags \[S\]'
  sees 'and the source of the answers' has '192\.168\.100\.10\.8080 > 192\.168\.100\.1\.[0-9]+: Flags \[S\.\]'

  note 'what tsvs knows of it'
  run tsvs tsvs ipvsadm -Ln
  holds 'mode Masq, as ipvsadm calls it' counted 2 'Masq'
  run tsvs tsvs ipvsadm -Ln --stats
  holds 'both directions pass tsvs' has '^TCP +192\.168\.100\.10:8080 +7 +[1-9][0-9]* +[1-9]'
}
