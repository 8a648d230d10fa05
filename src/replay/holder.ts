/** Finds out who holds a frame whose verdict was STOLEN and that has not left: which queue, and what it waits for there. */
import type { Host } from '../../stack/host.ts';
import { TW_BASE } from '../../stack/tcp/timewait.ts';
import type { FrameId } from '../../stack/types.ts';
import * as eth from '../../stack/wire/ethernet.ts';
import * as ip from '../../stack/wire/ipv4.ts';
import { ipText } from '../../stack/wire/pretty.ts';
import * as tcp from '../../stack/wire/tcp.ts';
import type { Holder } from './outcome.ts';

/** `bytes` is the frame as it was received: by now the pool's copy may have been changed. */
export function findHolder(host: Host, frame: FrameId, bytes: Uint8Array): { by: Holder; detail: string } {
  const l3 = eth.ETH_LEN;
  // Only whole IPv4 packets are ever kept: the header is there.
  if (ip.isFragment(bytes, l3)) {
    const more = (ip.fragmentField(bytes, l3) & ip.MF) !== 0 ? '' : ', the last one';
    return { by: 'reassembly', detail: `id ${ip.id(bytes, l3)}, offset ${ip.fragmentOffset(bytes, l3)}${more}` };
  }
  switch (ip.proto(bytes, l3)) {
    case ip.PROTO_TCP:
      return inConnection(host, frame, bytes, l3);
    case ip.PROTO_UDP:
      return { by: 'udp socket', detail: '' };
    default: {
      const src = ip.src(bytes, l3);
      const hop = host.routes.lookup(src) ? host.routes.outNextHop : src;
      return { by: 'neighbour', detail: `asked by ARP: ${ipText(hop)}` };
    }
  }
}

function inConnection(host: Host, frame: FrameId, bytes: Uint8Array, l3: number): { by: Holder; detail: string } {
  const l4 = l3 + ip.headerLength(bytes, l3);
  const client = `${ipText(ip.src(bytes, l3))}:${tcp.srcPort(bytes, l4)}`;
  const value = host.tcp.flows.find(ip.src(bytes, l3), ip.dst(bytes, l3), tcp.ports(bytes, l4));
  const tcb = value === 0 || value >= TW_BASE ? null : host.tcp.block(value);
  if (tcb === null) return { by: 'send queue', detail: `from ${client}` };
  const { next } = host.ctx.pool;
  for (let f = tcb.rcvHead; f !== 0; f = next[f]!) {
    if (f === frame) return { by: 'receive queue', detail: `${tcb.rcvQueued} bytes from ${client}` };
  }
  for (let f = tcb.ofoHead; f !== 0; f = next[f]!) {
    if (f === frame) return { by: 'out of order', detail: `${tcb.ofoBytes} bytes from ${client}` };
  }
  return { by: 'send queue', detail: `from ${client}` };
}
