/**
 * Programs for the kernel's BPF machine (eBPF), written as lines with labels: xdp-program.ts and tap-steering.ts are such. Only what they
 * need. Encoding: Documentation/bpf/standardization/instruction-set.rst.
 */

/** Registers: r0 result, r1..r5 arguments, r6.. preserved, r10 stack. */
export type Register = number;
export type Line = { readonly bytes: readonly number[]; readonly jump?: string } | { readonly label: string };

const u16 = (n: number): number[] => [n & 255, (n >> 8) & 255];
const u32 = (n: number): number[] => [...u16(n), ...u16(n >> 16)];
const op = (code: number, dst: Register, src: Register, offset: number, value: number): Line => ({
  bytes: [code, dst | (src << 4), ...u16(offset), ...u32(value)],
});
const jump = (code: number, dst: Register, src: Register, value: number, to: string): Line => ({
  bytes: [code, dst | (src << 4), 0, 0, ...u32(value)],
  jump: to,
});
export const label = (name: string): Line => ({ label: name });

export const move = (dst: Register, src: Register): Line => op(0xbf, dst, src, 0, 0);
export const set = (dst: Register, value: number): Line => op(0xb7, dst, 0, 0, value);
export const add = (dst: Register, value: number): Line => op(0x07, dst, 0, 0, value);
export const load32 = (dst: Register, src: Register, offset: number): Line => op(0x61, dst, src, offset, 0);
export const load16 = (dst: Register, src: Register, offset: number): Line => op(0x69, dst, src, offset, 0);
export const store32 = (dst: Register, offset: number, src: Register): Line => op(0x63, dst, src, offset, 0);
export const loadMap = (dst: Register, fd: number): Line[] => [op(0x18, dst, 1, 0, fd), op(0, 0, 0, 0, 0)];
export const call = (helper: number): Line => op(0x85, 0, 0, 0, helper);
export const exit = op(0x95, 0, 0, 0, 0);
export const goto = (to: string): Line => jump(0x05, 0, 0, 0, to);
export const ifEqual = (dst: Register, value: number, to: string): Line => jump(0x15, dst, 0, value, to);
export const ifNotEqual32 = (dst: Register, value: number, to: string): Line => jump(0x56, dst, 0, value, to);
export const ifAbove = (dst: Register, src: Register, to: string): Line => jump(0x2d, dst, src, 0, to);

/** Arithmetic of 32 bits. */
export const multiply32 = (dst: Register, value: number): Line => op(0x24, dst, 0, 0, value);
export const shiftRight32 = (dst: Register, bits: number): Line => op(0x74, dst, 0, 0, bits);
export const modulo32 = (dst: Register, value: number): Line => op(0x94, dst, 0, 0, value);
export const and32 = (dst: Register, value: number): Line => op(0x54, dst, 0, 0, value);
export const or32 = (dst: Register, value: number): Line => op(0x44, dst, 0, 0, value);
export const add32 = (dst: Register, src: Register): Line => op(0x0c, dst, src, 0, 0);
/**
 * What stands at `offset` of the packet whose struct sk_buff r6 points to, in host order, in r0; r1..r5 are lost. The program ends with 0
 * where the packet is shorter.
 */
export const packet8 = (offset: number): Line => op(0x30, 0, 0, 0, offset);
export const packet16 = (offset: number): Line => op(0x28, 0, 0, 0, offset);
export const packet32 = (offset: number): Line => op(0x20, 0, 0, 0, offset);

/** Jumps count instructions from the one behind them. */
export function assemble(lines: readonly Line[]): Uint8Array {
  const at = new Map<string, number>();
  const code: { bytes: readonly number[]; jump?: string }[] = [];
  for (const line of lines) {
    if ('label' in line) at.set(line.label, code.length);
    else code.push(line);
  }
  return Uint8Array.from(
    code.flatMap(({ bytes, jump: to }, i) => {
      if (to === undefined) return bytes;
      const target = at.get(to);
      if (target === undefined) throw new Error(`no label ${to}`);
      return [...bytes.slice(0, 2), ...u16(target - i - 1), ...bytes.slice(4)];
    }),
  );
}
