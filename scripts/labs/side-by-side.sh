# Layer 7 and layer 4 side by side. The words of a description are in scripts/lab/plan.sh, those of a tour in steps.sh.

about='layer 4 and layer 7 side by side on one VIP, over the same servers'
config=config/labs/side-by-side.conf
hint='curl http://192.168.100.10:81/from'

one_arm
web rs1
web rs2

tour() {
  times 2 client curl -s http://192.168.100.10/from
  holds 'port 80, the proxy: connections of tsvs itself' counted 2 'sees 192\.168\.100\.20:'
  times 2 client curl -s http://192.168.100.10:81/from
  holds 'port 81, FullNAT: packets passed on from another address' counted 2 'sees 192\.168\.100\.21:'

  note 'who does the handshake'
  sniff tsvs tcpdump -tn -i tap0 'tcp[tcpflags] & tcp-syn != 0 and not host 192.168.100.20'
  run client curl -s http://192.168.100.10/
  run client curl -s http://192.168.100.10:81/
  sniffed
  sees 'at layer 7 tsvs answers the client with its own numbers and timestamps' has '10\.80 > .*Flags \[S\.\].*win 65535'
  sees 'at layer 4 the SYN-ACK is that of the server' has '10\.81 > .*Flags \[S\.\].*win 64240'
  run tsvs tsvs stats
  holds 'each service has its counts' has '^fast +192\.168\.100\.10:81 '

  note 'a server fails: health checks take it out of both'
  end_processes TERM rs1 50
  await 'both services to miss rs-1' both_say down || return
  run tsvs tsvs stats
  times 2 client curl -s http://192.168.100.10/
  holds 'port 80: only rs-2 answers' counted 2 '^rs-2$'
  times 2 client curl -s http://192.168.100.10:81/
  holds 'port 81: only rs-2 answers' counted 2 '^rs-2$'
  start_server rs1
  await 'both services to have rs-1 again' both_say up || return
  times 2 client curl -s http://192.168.100.10:81/
  holds 'rs-1 is back' counted 1 '^rs-1$'
}

# The first server of both services is in this state.
both_say() {
  local service
  for service in web fast; do [[ $(state_of $service server1) == "$1" ]] || return; done
}
