/**
 * Every reason for which a frame is dropped: one row each, with the sentence an operator reads.
 * A new drop path means a new row and a test. Reasons are 1..255; 0 = not dropped.
 */

export interface DropInfo {
  /** Stable name, as `tsvs drops` prints it. */
  readonly name: string;
  /** `peer`: the sender did it; `limit`: a bound of ours was met; `config`: an operator can cure it. */
  readonly kind: 'peer' | 'limit' | 'config';
  readonly sentence: string;
}

const table: DropInfo[] = [{ name: 'none', kind: 'peer', sentence: 'Not dropped.' }];

function reason(name: string, kind: DropInfo['kind'], sentence: string): number {
  table.push({ name, kind, sentence });
  return table.length - 1;
}

// netif and ethernet
export const RUNT = reason('runt', 'peer', 'Frame shorter than an Ethernet header.');
export const OVERSIZE = reason('oversize', 'peer', 'Frame larger than the link or a frame slot can carry.');
export const POOL_EMPTY = reason('pool_empty', 'limit', 'No free frame in the pool.');
export const TX_FULL = reason('tx_full', 'limit', 'The transmit queue of the port is full.');
export const LINK_DOWN = reason('link_down', 'config', 'The port is down or gone.');
export const LINK_ERROR = reason('link_error', 'config', 'The operating system refused to send the frame.');
export const LINK_METADATA = reason(
  'link_metadata',
  'peer',
  "What the link says of a frame's checksum or segments contradicts the frame.",
);
export const NOT_FOR_US = reason('not_for_us', 'peer', 'Unicast frame for another MAC address.');
export const ETHERTYPE = reason('ethertype', 'peer', 'No handler for this Ethernet type.');

// ARP
export const ARP_MALFORMED = reason(
  'arp_malformed',
  'peer',
  'ARP packet truncated or of another hardware or protocol.',
);
export const ARP_NOT_OURS = reason('arp_not_ours', 'peer', 'ARP request or reply that concerns other hosts.');
export const ARP_CONFLICT = reason('arp_conflict', 'config', 'Another host claims one of our addresses.');
export const NEIGH_QUEUE_FULL = reason(
  'neigh_queue_full',
  'limit',
  'Too many frames wait for one unresolved neighbour.',
);
export const NEIGH_FAILED = reason('neigh_failed', 'config', 'The next hop does not answer ARP.');
export const NEIGH_TABLE_FULL = reason('neigh_table_full', 'limit', 'The neighbour table is full.');

// IPv4
export const IP_TRUNCATED = reason('ip_truncated', 'peer', 'Packet shorter than its IPv4 header or total length says.');
export const IP_VERSION = reason('ip_version', 'peer', 'IP version is not 4.');
export const IP_HEADER_LENGTH = reason(
  'ip_header_length',
  'peer',
  'IPv4 header length below 20 bytes or beyond the packet.',
);
export const IP_CHECKSUM = reason('ip_checksum', 'peer', 'IPv4 header checksum is wrong.');
export const IP_REVERSE_PATH = reason(
  'ip_reverse_path',
  'peer',
  'Came in by a link that the way back to its source does not use.',
);
export const IP_SOURCE = reason(
  'ip_source',
  'peer',
  'Source address is multicast, broadcast, loopback, zero or our own.',
);
export const IP_DESTINATION = reason('ip_destination', 'peer', 'Destination address is zero, loopback or reserved.');
export const IP_OPTIONS = reason('ip_options', 'peer', 'IPv4 options are malformed or ask for source routing.');
export const IP_NOT_LOCAL = reason('ip_not_local', 'peer', 'Not addressed to us, and forwarding is off.');
export const IP_TTL = reason('ip_ttl', 'peer', 'Time to live ran out in transit.');
export const IP_PROTOCOL = reason('ip_protocol', 'peer', 'No handler for this IP protocol.');
export const IP_NO_ROUTE = reason('ip_no_route', 'config', 'No route to the destination.');
export const IP_TOO_BIG = reason('ip_too_big', 'peer', 'Larger than the MTU and must not be fragmented.');
export const FRAG_MALFORMED = reason(
  'frag_malformed',
  'peer',
  'Fragment beyond 65535 bytes, empty, tiny, not a multiple of eight, or of contradictory ECN.',
);
export const FRAG_OVERLAP = reason('frag_overlap', 'peer', 'Overlapping fragments: the whole datagram is dropped.');
export const FRAG_DUPLICATE = reason('frag_duplicate', 'peer', 'Exact copy of a fragment that is held already.');
export const FRAG_TIMEOUT = reason('frag_timeout', 'peer', 'The datagram was not complete in time.');
export const FRAG_LIMIT = reason('frag_limit', 'limit', 'Reassembly memory or fragment count exhausted.');

// Tunnels
export const TUNNEL_ECN = reason(
  'tunnel_ecn',
  'peer',
  'Congestion was marked on the outer header of a packet that cannot carry the mark (RFC 6040 §4.2).',
);

export const TUNNEL_SOURCE = reason(
  'tunnel_source',
  'config',
  'A tunnel packet from a host that `ipip_from` does not name.',
);

// ICMP
export const ICMP_MALFORMED = reason('icmp_malformed', 'peer', 'ICMP message truncated.');
export const ICMP_CHECKSUM = reason('icmp_checksum', 'peer', 'ICMP checksum is wrong.');
export const ICMP_IGNORED = reason('icmp_ignored', 'peer', 'ICMP type or code that we do not answer.');
export const ICMP_RATE = reason('icmp_rate', 'limit', 'ICMP answers are rate limited.');

// UDP
export const UDP_MALFORMED = reason('udp_malformed', 'peer', 'UDP datagram truncated or its length field is wrong.');
export const UDP_CHECKSUM = reason('udp_checksum', 'peer', 'UDP checksum is wrong.');
export const UDP_NO_PORT = reason('udp_no_port', 'peer', 'No socket on this UDP port.');
export const UDP_QUEUE_FULL = reason('udp_queue_full', 'limit', 'The receive queue of the UDP socket is full.');

// TCP
export const TCP_MALFORMED = reason(
  'tcp_malformed',
  'peer',
  'TCP header truncated, or its data offset or the length of an option is wrong.',
);
export const TCP_CHECKSUM = reason('tcp_checksum', 'peer', 'TCP checksum is wrong.');
export const TCP_NO_SOCKET = reason('tcp_no_socket', 'peer', 'No TCP socket for this segment: answered with a reset.');
export const TCP_RESET_IN = reason('tcp_reset_in', 'peer', 'Reset for a connection that does not exist.');
export const TCP_FLAGS = reason('tcp_flags', 'peer', 'Combination of TCP flags that no state accepts.');
export const TCP_OUT_OF_WINDOW = reason(
  'tcp_out_of_window',
  'peer',
  'Segment outside the receive window (RFC 9293 §3.10.7.4).',
);
export const TCP_OLD_DUPLICATE = reason('tcp_old_duplicate', 'peer', 'Segment with nothing new in it.');
export const TCP_BAD_ACK = reason('tcp_bad_ack', 'peer', 'Acknowledges what was never sent (RFC 5961 §5).');
export const TCP_NO_ACK = reason('tcp_no_ack', 'peer', 'Segment without ACK in a state that demands it.');
export const TCP_PAWS = reason('tcp_paws', 'peer', 'Timestamp older than the last one seen (RFC 7323 §5).');
export const TCP_RESET_BLIND = reason(
  'tcp_reset_blind',
  'peer',
  'Reset whose number is not exactly the next one (RFC 5961 §3).',
);
export const TCP_SYN_BLIND = reason('tcp_syn_blind', 'peer', 'SYN inside a connection (RFC 5961 §4).');
export const TCP_AFTER_CLOSE = reason('tcp_after_close', 'peer', 'Data for a connection whose reader is gone.');
export const TCP_BACKLOG = reason(
  'tcp_backlog',
  'limit',
  'The listener has too many half-open or unaccepted connections.',
);
export const TCP_TABLE_FULL = reason('tcp_table_full', 'limit', 'No free TCP control block.');
export const TCP_NO_ROUTE_BACK = reason(
  'tcp_no_route_back',
  'config',
  'SYN from an address that no link which is up leads back to.',
);
export const TCP_WINDOW_FULL = reason('tcp_window_full', 'limit', 'Data beyond the receive buffer.');
export const TCP_OFO_FULL = reason('tcp_ofo_full', 'limit', 'Too much out-of-order data held for one connection.');

// the layer-4 balancer
export const LB_NO_SERVER = reason(
  'lb_no_server',
  'config',
  'The service has no server for a new connection: the client is told.',
);
export const LB_NO_LOCAL_PORT = reason(
  'lb_no_local_port',
  'limit',
  'FullNAT, SNAT: no local address of the service has a free port towards the other side: whoever asks is told.',
);
export const LB_CONN_FULL = reason('lb_conn_full', 'limit', 'The connection table is full.');
export const LB_CONN_CLASH = reason(
  'lb_conn_clash',
  'peer',
  'The client has another connection to the same server from the same port, through another service.',
);
export const LB_QUIESCED = reason(
  'lb_quiesced',
  'config',
  'Its server is drained or gone, and the service ends such connections.',
);
export const LB_FRAGMENT = reason(
  'lb_fragment',
  'config',
  'Fragment for a service that drops them, or that forwards them and has not seen the first one.',
);
export const LB_MODE = reason('lb_mode', 'config', 'Connection of a forwarding mode that cannot transmit.');

// workers
export const HANDOVER_FULL = reason(
  'handover_full',
  'limit',
  'Another worker owns the flow, and has not kept up with what is handed over to it for 100 ms, or has ended.',
);

// links and middleware
export const FAULT_LOSS = reason('fault_loss', 'config', 'Lost on purpose by the fault middleware.');
export const FAULT_RATE = reason('fault_rate', 'config', 'Beyond the rate of the fault middleware.');
export const PORT_CLOSED = reason('port_closed', 'config', 'Held by a port, a queue or a socket when it was closed.');

/** Indexed by reason; row 0 is "none". */
export const DROP_REASONS: readonly DropInfo[] = table;
