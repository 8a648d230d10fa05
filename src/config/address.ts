/**
 * Addresses as people write them: dotted quads, netmasks and MAC addresses, to and from the model's form.
 * Called by the front ends and by whoever prints an address in the control plane.
 */
import type { Ipv4, Mac } from './model.ts';

/** Reads a dotted quad strictly: four decimal numbers 0..255 without leading zeros (some programs read 010 as 8). Null if it is none. */
export function parseIpv4(text: string): Ipv4 | null {
  const parts = text.split('.');
  if (parts.length !== 4) return null;
  let address = 0;
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return null;
    address = (address << 8) | Number(part);
  }
  return address | 0;
}

export function formatIpv4(address: Ipv4): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** `192.168.100.10:80` */
export function formatEndpoint(address: Ipv4, port: number): string {
  return `${formatIpv4(address)}:${port}`;
}

/** The int32 netmask of a prefix length 0..32. */
export function netmaskOf(prefixLen: number): Ipv4 {
  return prefixLen === 0 ? 0 : (-1 << (32 - prefixLen)) | 0;
}

/** The prefix length of a netmask, or -1 where ones follow zeros. */
export function prefixLenOf(netmask: Ipv4): number {
  const prefixLen = Math.clz32(~netmask);
  return netmaskOf(prefixLen) === netmask ? prefixLen : -1;
}

export function networkOf(address: Ipv4, prefixLen: number): Ipv4 {
  return address & netmaskOf(prefixLen);
}

/** `192.168.100.0/24`, for messages. */
export function formatNetwork(address: Ipv4, prefixLen: number): string {
  return `${formatIpv4(networkOf(address, prefixLen))}/${prefixLen}`;
}

/** What keeps an address from being one host's own (RFC 1122 section 3.2.1.3, RFC 5771); empty when nothing does. */
export function notAHost(address: Ipv4): string {
  const top = address >>> 24;
  if (top === 0) return 'is not the address of a host';
  if (top === 127) return 'is a loopback address';
  if (top >= 224 && top < 240) return 'is a multicast address';
  if (address === -1) return 'is the broadcast address';
  if (top >= 240) return 'is a reserved address';
  return '';
}

/** The role an address has in its own network: RFC 3021 leaves /31 and /32 without network and broadcast addresses. */
export function reservedRole(address: Ipv4, prefixLen: number): '' | 'network' | 'broadcast' {
  if (prefixLen >= 31) return '';
  const host = address & ~netmaskOf(prefixLen);
  if (host === 0) return 'network';
  return host === ~netmaskOf(prefixLen) ? 'broadcast' : '';
}

/** Six pairs of hexadecimal digits joined by colons, any case; null if it is none. */
export function parseMac(text: string): Mac | null {
  return /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text) ? text.toLowerCase() : null;
}

/** A MAC address from its first two bytes and its last four, as the tables of the stack keep it. */
export function formatMacWords(high: number, low: number): Mac {
  const hex = `${(high & 0xffff).toString(16).padStart(4, '0')}${(low >>> 0).toString(16).padStart(8, '0')}`;
  return hex.replace(/..(?=.)/g, '$&:');
}

/** The six bytes of a MAC address, first on the wire first. */
export function macBytes(mac: Mac): number[] {
  return mac.split(':').map((pair) => Number.parseInt(pair, 16));
}

/** Six bytes as text. */
export function formatMac(bytes: readonly number[]): Mac {
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** IEEE 802-2014 section 8.2.2: the lowest bit of the first byte marks a group address. */
export function isGroupMac(mac: Mac): boolean {
  return (macBytes(mac)[0] & 1) === 1;
}

/** A locally administered MAC made of an address: unique in the network the address is unique in, and the same after a restart. */
export function macFromIpv4(address: Ipv4): Mac {
  return formatMac([2, 0, address >>> 24, (address >>> 16) & 255, (address >>> 8) & 255, address & 255]);
}
