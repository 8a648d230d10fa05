/**
 * An AF_XDP socket on one receive queue of an interface, with its four rings mapped. The memory that the kernel receives into and sends from
 * (UMEM) is the frame pool of the worker that drives the queue: its small slots are the chunks.
 *
 * Kernel interface: Documentation/networking/af_xdp.rst, include/uapi/linux/if_xdp.h. Called by xdp-open.ts.
 */
import type { FramePool } from '../../stack/mem/frame-pool.ts';
import {
  errnoName,
  LinkError,
  MAP_FAILED,
  MAP_RING,
  NativeBytes,
  O_CLOEXEC,
  PROT_READ_WRITE,
  type Syscalls,
} from './syscall.ts';

/** The frame pool's small slots, as chunks of the kernel's. */
export interface Umem {
  /** Where the pool begins, page aligned. */
  readonly address: number;
  /** Number and size of the slots; the size is 2048 or 4096. */
  readonly slots: number;
  readonly slotBytes: number;
}

/** A ring: where it is mapped, and the byte offsets of its two indices, flags and entries. */
export interface RingPlace {
  readonly address: number;
  readonly bytes: number;
  readonly producer: number;
  readonly consumer: number;
  readonly flags: number;
  readonly entries: number;
  readonly size: number;
}

export interface XdpQueueHandle {
  /** Its number at the interface. */
  readonly queue: number;
  readonly fd: number;
  readonly rx: RingPlace;
  readonly tx: RingPlace;
  readonly fill: RingPlace;
  readonly completion: RingPlace;
}

const AF_XDP = 44;
const SOL_XDP = 283;
export const SOCK_RAW_CLOEXEC = 3 | O_CLOEXEC;
/** Options of SOL_XDP. */
const XDP_MMAP_OFFSETS = 1;
const XDP_RX_RING = 2;
const XDP_TX_RING = 3;
const XDP_UMEM_REG = 4;
const XDP_UMEM_FILL_RING = 5;
const XDP_UMEM_COMPLETION_RING = 6;
const XDP_MAX_TX_SKB_BUDGET = 9;
/** Flags of bind. */
const XDP_SHARED_UMEM = 1;
const XDP_USE_NEED_WAKEUP = 8;
/** What to map of a socket: its offset says which ring. */
const PGOFF_RX = 0;
const PGOFF_TX = 0x80000000;
const PGOFF_FILL = 0x100000000;
const PGOFF_COMPLETION = 0x180000000;
/** Bytes of a descriptor (address u64, length u32, options u32) and of an address. */
const DESCRIPTOR = 16;
const ADDRESS = 8;

/** Entries of each ring: at a million frames a second 4096 last 4 ms. */
export const XDP_RING = 4096;
/** With the 256 bytes that XDP itself keeps, puts the IP header on a 4-byte boundary. */
const XDP_HEADROOM = 2;

/** A socket on one queue. With `share` it uses the memory of that one, otherwise it registers it. Throws LinkError. */
export function openQueue(sys: Syscalls, index: number, queue: number, umem: Umem, share: number): XdpQueueHandle {
  const fd = sys.socket(AF_XDP, SOCK_RAW_CLOEXEC, 0);
  const fail = (what: string): LinkError => {
    const code = errnoName(sys.errno());
    return new LinkError(code, `cannot ${what} (${code})`);
  };
  if (fd < 0) throw fail('open an AF_XDP socket');
  const value = new NativeBytes(sys, 144);
  const option = (name: number, bytes: number): boolean => sys.setsockopt(fd, SOL_XDP, name, value.address, bytes) >= 0;
  const rings: RingPlace[] = [];
  try {
    if (share < 0) {
      // struct xdp_umem_reg: address u64, length u64, chunk u32, headroom u32, flags u32, metadata u32.
      value.set64(0, umem.address);
      value.set64(8, umem.slots * umem.slotBytes);
      value.i32.set([umem.slotBytes, XDP_HEADROOM, 0, 0], 4);
      if (!option(XDP_UMEM_REG, 32)) throw fail('register the frame pool: too little memory that may be locked?');
    }
    for (const ring of [XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING, XDP_TX_RING]) {
      value.i32[0] = XDP_RING;
      if (!option(ring, 4)) throw fail('make its rings');
    }
    // Frames sent with one call; kernels before 6.17 do 32 and have to be called again.
    option(XDP_MAX_TX_SKB_BUDGET, 4);
    value.i32[32] = 128;
    if (sys.getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, value.address, value.address + 128) < 0) {
      throw fail('ask for its rings');
    }
    const map = (n: number, offset: number, entry: number): RingPlace => {
      // struct xdp_ring_offset: producer, consumer, descriptors, flags, 64 bits each.
      const [producer, consumer, entries, flags] = [0, 1, 2, 3].map((i) => value.i32[n * 8 + i * 2]!) as [
        number,
        number,
        number,
        number,
      ];
      const bytes = entries + XDP_RING * entry;
      const address = sys.mmap(0, bytes, PROT_READ_WRITE, MAP_RING, fd, offset);
      if (address === MAP_FAILED) throw fail('map its rings');
      const place = { address, bytes, producer, consumer, flags, entries, size: XDP_RING };
      rings.push(place);
      return place;
    };
    const rx = map(0, PGOFF_RX, DESCRIPTOR);
    const tx = map(1, PGOFF_TX, DESCRIPTOR);
    const fill = map(2, PGOFF_FILL, ADDRESS);
    const completion = map(3, PGOFF_COMPLETION, ADDRESS);
    // struct sockaddr_xdp: family u16, flags u16, interface u32, queue u32, socket to share with u32.
    value.u8.fill(0, 0, 16);
    value.u16[0] = AF_XDP;
    value.u16[1] = share < 0 ? XDP_USE_NEED_WAKEUP : XDP_SHARED_UMEM;
    value.i32.set([index, queue, Math.max(share, 0)], 1);
    if (sys.bind(fd, value.address, 16) < 0) throw fail(`bind to queue ${queue}`);
    return { queue, fd, rx, tx, fill, completion };
  } catch (error) {
    for (const { address, bytes } of rings) sys.munmap(address, bytes);
    sys.close(fd);
    throw error;
  }
}

/** A mapped ring would keep the socket alive, and its queue busy. */
export function closeQueue(sys: Syscalls, { fd, rx, tx, fill, completion }: XdpQueueHandle): void {
  for (const { address, bytes } of [rx, tx, fill, completion]) sys.munmap(address, bytes);
  sys.close(fd);
}

/** The small slots of a pool as memory of the kernel. */
export function umemOf(sys: Syscalls, pool: FramePool): Umem {
  const { slots, slotBytes } = pool.config;
  return { address: sys.addressOf(new Uint8Array(pool.share.memory)), slots, slotBytes };
}
