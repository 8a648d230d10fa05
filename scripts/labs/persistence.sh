# Persistence. The words of a description are in scripts/lab/plan.sh, those of a tour in steps.sh.

about='persistence: clients, or networks of clients, come back to their server'
config=config/labs/persistence.conf
hint='curl http://192.168.100.10:8080/'

# Four clients in one: .1 and .2 are in one /26, .65 and .66 in the next.
one_arm 192.168.100.1/24,192.168.100.2/24,192.168.100.65/24,192.168.100.66/24
web rs1
web rs2

tour() {
  local vip=http://192.168.100.10 first
  times 4 client curl -s $vip:8081/
  holds 'without persistence the servers take turns' counted 2 '^rs-1$'

  note 'port 8080: a client stays with its server'
  times 3 client curl -s --interface 192.168.100.1 $vip:8080/
  holds 'three connections of one client, one server' differing 1
  first=$out
  times 3 client curl -s --interface 192.168.100.2 $vip:8080/
  holds 'three of another client, one server' differing 1
  holds 'which is the other one' has_not "^${first%%$'\n'*}\$"
  run tsvs tsvs ipvsadm -Ln --persistent-conn
  holds 'ipvsadm names the time' has '^TCP +192\.168\.100\.10:8080 rr persistent 360'
  run tsvs tsvs ipvsadm -Lnc
  holds 'and lists a template for each client, without a port of the client' counted 2 '192\.168\.100\.[12]:0 +192\.168\.100\.10:8080'

  note 'port 8082: a network of clients stays with its server'
  times 2 client curl -s --interface 192.168.100.1 $vip:8082/
  first=${out%%$'\n'*}
  run client curl -s --interface 192.168.100.2 $vip:8082/
  holds 'two clients of one /26, one server' is "$out" "$first"
  run client curl -s --interface 192.168.100.65 $vip:8082/
  holds 'a client of the next /26 gets the other one' has_not "^$first\$"
  first=$out
  run client curl -s --interface 192.168.100.66 $vip:8082/
  holds 'and its neighbour follows' is "$out" "$first"

  note 'maintenance of the server of 192.168.100.1: the client is sent elsewhere'
  run client curl -s --interface 192.168.100.1 $vip:8080/
  first=$out
  run tsvs tsvs server "shop/server${first#rs-}" maint
  times 2 client curl -s --interface 192.168.100.1 $vip:8080/
  holds 'to the other server' has_not "^$first\$"
}
