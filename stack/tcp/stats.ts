/** Counters of one TCP, after the names of RFC 4022 where it has them. */
export class TcpStats {
  activeOpens = 0;
  passiveOpens = 0;
  attemptFails = 0;
  estabResets = 0;
  inSegs = 0;
  outSegs = 0;
  retransSegs = 0;
  outRsts = 0;
  timeouts = 0;
  fastRecoveries = 0;
  /** Tail loss probes sent. */
  lossProbes = 0;
  /** Reductions of the window that proved uncalled for. */
  undos = 0;
  /** Duplicates that peers reported to us, and we to them (RFC 2883). */
  dsacksIn = 0;
  dsacksOut = 0;
  challengeAcks = 0;
  listenDrops = 0;
  /** SYN cookies: SYN-ACKs that carried one, those that came back, and acknowledgments that brought a wrong one. */
  cookiesSent = 0;
  cookiesAccepted = 0;
  cookiesFailed = 0;
  /** Connections whose full-sized segments vanished without a word, and who now send smaller ones. */
  blackHoles = 0;
  /** Reductions of the window because routers marked segments. */
  ecnReductions = 0;
  zeroWindowProbes = 0;
  /** Connects refused because no local port was found towards that peer. */
  portsExhausted = 0;
}
