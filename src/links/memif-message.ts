/**
 * The messages of a memif control channel, version 2.0: each 128 bytes, little endian, padded with zeroes; a descriptor may
 * travel with it. Written by either side, read by the other; memif-socket.ts carries them.
 *
 * | type           | from   | bytes                                                                              | descriptor    |
 * | -------------- | ------ | ---------------------------------------------------------------------------------- | ------------- |
 * | 1 ACK          | both   |                                                                                    |               |
 * | 2 HELLO        | server | name 2..33, version min 34 max 36, highest region 38, m2s ring 40, s2m ring 42, log2 of entries 44 | |
 * | 3 INIT         | client | version 2, id 4, mode 8 (0 Ethernet), secret 9..32, name 33..64                    |               |
 * | 4 ADD_REGION   | client | index 2, size 4..11                                                                | its memory    |
 * | 5 ADD_RING     | client | flags 2 (1: client to server), index 4, region 6, offset 8, log2 of entries 12, private header 13 | its interrupt |
 * | 6 CONNECT      | client | interface name 2..33                                                               |               |
 * | 7 CONNECTED    | server | interface name 2..33                                                               |               |
 * | 8 DISCONNECT   | both   | code 2..5, words 6..101                                                            |               |
 *
 * Source: VPP's memif protocol (src/plugins/memif/memif.h) as DPDK's net_memif speaks it.
 */
export const MESSAGE_BYTES = 128;
export const VERSION = 0x0200;

export const ACK = 1;
export const HELLO = 2;
export const INIT = 3;
export const ADD_REGION = 4;
export const ADD_RING = 5;
export const CONNECT = 6;
export const CONNECTED = 7;
export const DISCONNECT = 8;

/** Bytes of a secret, at most. */
export const SECRET_BYTES = 24;
const NAME_BYTES = 32;
const WORDS_BYTES = 96;

export interface Hello {
  readonly minVersion: number;
  readonly maxVersion: number;
  /** The highest index of regions and rings each way, and log2 of the entries a ring may have. */
  readonly maxRegion: number;
  readonly maxToClient: number;
  readonly maxToServer: number;
  readonly maxLog2: number;
}

export interface Init {
  readonly version: number;
  readonly id: number;
  readonly mode: number;
  readonly secret: string;
}

export interface RingPlace {
  readonly toServer: boolean;
  readonly index: number;
  readonly region: number;
  readonly offset: number;
  readonly log2: number;
}

const message = (type: number, fill: (v: DataView, bytes: Uint8Array) => void = () => {}): Uint8Array => {
  const bytes = new Uint8Array(MESSAGE_BYTES);
  const v = new DataView(bytes.buffer);
  v.setUint16(0, type, true);
  fill(v, bytes);
  return bytes;
};

const put = (bytes: Uint8Array, at: number, text: string, room: number): void => {
  bytes.set(new TextEncoder().encode(text).subarray(0, room), at);
};

const text = (bytes: Uint8Array, at: number, room: number): string => {
  const field = bytes.subarray(at, at + room);
  const end = field.indexOf(0);
  return new TextDecoder().decode(end < 0 ? field : field.subarray(0, end));
};

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, MESSAGE_BYTES);

export const typeOf = (bytes: Uint8Array): number => view(bytes).getUint16(0, true);

export const ack = (): Uint8Array => message(ACK);

export const hello = (name: string, h: Hello): Uint8Array =>
  message(HELLO, (v, bytes) => {
    put(bytes, 2, name, NAME_BYTES - 1);
    v.setUint16(34, h.minVersion, true);
    v.setUint16(36, h.maxVersion, true);
    v.setUint16(38, h.maxRegion, true);
    v.setUint16(40, h.maxToClient, true);
    v.setUint16(42, h.maxToServer, true);
    v.setUint8(44, h.maxLog2);
  });

export function readHello(bytes: Uint8Array): Hello {
  const v = view(bytes);
  return {
    minVersion: v.getUint16(34, true),
    maxVersion: v.getUint16(36, true),
    maxRegion: v.getUint16(38, true),
    maxToClient: v.getUint16(40, true),
    maxToServer: v.getUint16(42, true),
    maxLog2: v.getUint8(44),
  };
}

export const init = (name: string, id: number, secret: string): Uint8Array =>
  message(INIT, (v, bytes) => {
    v.setUint16(2, VERSION, true);
    v.setUint32(4, id, true);
    put(bytes, 9, secret, SECRET_BYTES);
    put(bytes, 33, name, NAME_BYTES - 1);
  });

export function readInit(bytes: Uint8Array): Init {
  const v = view(bytes);
  return {
    version: v.getUint16(2, true),
    id: v.getUint32(4, true),
    mode: v.getUint8(8),
    secret: text(bytes, 9, SECRET_BYTES),
  };
}

export const addRegion = (index: number, size: number): Uint8Array =>
  message(ADD_REGION, (v) => {
    v.setUint16(2, index, true);
    v.setBigUint64(4, BigInt(size), true);
  });

export const readRegion = (bytes: Uint8Array): { index: number; size: number } => ({
  index: view(bytes).getUint16(2, true),
  size: Number(view(bytes).getBigUint64(4, true)),
});

export const addRing = (ring: RingPlace): Uint8Array =>
  message(ADD_RING, (v) => {
    v.setUint16(2, ring.toServer ? 1 : 0, true);
    v.setUint16(4, ring.index, true);
    v.setUint16(6, ring.region, true);
    v.setUint32(8, ring.offset, true);
    v.setUint8(12, ring.log2);
  });

export function readRing(bytes: Uint8Array): RingPlace {
  const v = view(bytes);
  return {
    toServer: (v.getUint16(2, true) & 1) !== 0,
    index: v.getUint16(4, true),
    region: v.getUint16(6, true),
    offset: v.getUint32(8, true),
    log2: v.getUint8(12),
  };
}

export const connect = (name: string): Uint8Array =>
  message(CONNECT, (_, bytes) => put(bytes, 2, name, NAME_BYTES - 1));
export const connected = (name: string): Uint8Array =>
  message(CONNECTED, (_, bytes) => put(bytes, 2, name, NAME_BYTES - 1));

export const disconnect = (why: string): Uint8Array =>
  message(DISCONNECT, (_, bytes) => put(bytes, 6, why, WORDS_BYTES - 1));
export const readDisconnect = (bytes: Uint8Array): string => text(bytes, 6, WORDS_BYTES);
