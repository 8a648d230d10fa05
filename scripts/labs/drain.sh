# Drain under load. The words of a description are in scripts/lab/plan.sh, those of a tour in steps.sh.

about='a server is drained, restarted and taken back under load, without one failed request'
config=config/labs/drain.conf
hint='ab -t 5 -c 8 http://192.168.100.10/'

one_arm
web rs1
web rs2

tour() {
  local before after
  # ab gives up at the first connection that is refused or reset, and counts answers that are not as long as the first.
  begin client ab -q -t 60 -n 10000000 -c 4 http://192.168.100.10/bytes/2000
  await 'rs-1 to get connections' gets_connections 0 || return

  run tsvs tsvs server web/server1 drain
  await 'the connections of rs-1 to end' is_idle || return
  run tsvs tsvs conn count server=192.168.100.11:80 state=ESTABLISHED
  holds 'rs-1 has no open connection left' has '^0 '
  before=$(number_of web server1 conns)
  end_processes TERM rs1 50
  show 'rs1$ # stopped'
  start_server rs1
  await_server rs1
  show 'rs1$ # started anew'
  after=$(number_of web server1 conns)
  holds "while drained rs-1 got no connection: $before before its restart, $after after it" is "$before" "$after"
  run tsvs tsvs server web/server1 ready
  await 'rs-1 to get connections again' gets_connections "$after" || return
  ok 'it gets connections again'

  interrupted
  holds 'ab: no failed request' has '^Failed requests: +0$'
  holds "ab: $(sed -n 's/^Complete requests: *//p' <<<"$out") requests, none with another answer than 200" has_not '^Non-2xx'
  run tsvs tsvs ipvsadm -Ln --stats
}

gets_connections() { (($(number_of web server1 conns) > $1)); }

# What has ended is remembered for some seconds more, and does not count.
is_idle() {
  local one
  for one in SYN_RECV ESTABLISHED; do
    ask "conns?server=192.168.100.11:80&state=$one" | grep -q '"conns":\[\]' || return
  done
}
