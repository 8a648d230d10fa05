# UDP. The words of a description are in scripts/lab/plan.sh, those of a tour in steps.sh.

about='UDP: a name service, by flows and datagram by datagram'
config=config/labs/udp.conf
hint='dig +short @192.168.100.10 TXT who.lab'

two_arms
dns rs1
dns rs2

prepare() {
  run rs1 ip route add default via 10.1.0.2
  run rs2 ip route add default via 10.1.0.2
}

tour() {
  times 4 client dig +short @192.168.100.10 TXT who.lab
  holds 'each question has a port of its own, so the servers take turns' counted 2 '^"rs-1 sees 192\.168\.100\.1:'
  times 4 client dig +short -b '192.168.100.1#5300' @192.168.100.10 TXT who.lab
  holds 'questions from one port are a flow, which stays with its server' differing 1
  run tsvs tsvs conn list proto=udp
  holds 'five flows' counted 5 '^udp'

  note 'one_packet = on: each question by itself, wherever it comes from'
  times 4 client dig +short -p 5353 -b '192.168.100.1#5301' @192.168.100.10 TXT who.lab
  holds 'the servers take turns for one and the same port' counted 2 '^"rs-1 sees 192\.168\.100\.1:5301"'
  run tsvs tsvs conn count proto=udp
  holds 'and nothing is remembered of it' has '^5'
  run tsvs tsvs ipvsadm -Ln
  holds 'ipvsadm lists it with the flag ops' has '^UDP +192\.168\.100\.10:5353 rr ops'

  note 'a server that is gone: the kernel there says so, and the client hears it from the VIP'
  end_processes TERM 'rs*' 50
  sniff client tcpdump -tn -i eth0 icmp
  try client dig +tries=1 +time=1 @192.168.100.10 TXT who.lab
  sniffed
  sees 'ICMP port unreachable, translated' has 'IP 192\.168\.100\.10 > 192\.168\.100\.1: ICMP 192\.168\.100\.10 udp port 53 unreachable'
}
