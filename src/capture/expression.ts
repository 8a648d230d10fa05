/**
 * What people type to say which frames they want, made into a program of lb/capture/filter.ts. The words are those of tcpdump,
 * as far as there are addresses, ports and protocols in them:
 *
 *     host 10.0.0.7 and not port 22          src 10.0.0.7:40000 and dst 10.0.0.10:80
 *     tcp port 80-89 or icmp                 net 10.1.0.0/16 and (udp or arp)
 *
 * `and` may be left out. An address with a port means both at one end. Called by src/control/capture.ts.
 */
import * as f from '../../lb/capture/filter.ts';
import { netmaskOf, parseIpv4 } from '../config/address.ts';

/** The filter is not understood; the message says where and what would be right. */
export class ExpressionError extends Error {}

const PROTOS: Readonly<Record<string, number>> = { tcp: 6, udp: 17, icmp: 1, ipip: 4, arp: f.ARP_PROTO };
type Side = 'src' | 'dst' | '';
const HOSTS = { src: f.SRC, dst: f.DST, '': f.HOST } as const;
const PORTS = { src: f.SPORT, dst: f.DPORT, '': f.PORT } as const;

/** Throws ExpressionError. */
export function compileFilter(text: string): number[] {
  const words = text.match(/[()!]|[^\s()!]+/g) ?? [];
  return words.length === 0 ? [] : new Parser(words).whole();
}

class Parser {
  private readonly words: readonly string[];
  private at = 0;
  private depth = 0;

  constructor(words: readonly string[]) {
    this.words = words;
  }

  whole(): number[] {
    const program = this.either();
    if (this.at < this.words.length) throw this.wrong('nothing, or and, or');
    return program;
  }

  private either(): number[] {
    if (++this.depth > f.MAX_DEPTH / 3) throw new ExpressionError('the filter is nested too deeply');
    let program = this.both();
    while (this.take('or')) program = [...program, ...this.both(), f.OR, 0, 0];
    this.depth--;
    return program;
  }

  private both(): number[] {
    let program = this.one();
    for (;;) {
      if (!this.take('and') && (this.next === undefined || ['or', ')'].includes(this.next))) return program;
      program = [...program, ...this.one(), f.AND, 0, 0];
    }
  }

  private one(): number[] {
    let negated = false;
    while (this.take('not', '!')) negated = !negated;
    const program = this.take('(') ? this.inParentheses() : this.primitive();
    return negated ? [...program, f.NOT, 0, 0] : program;
  }

  private inParentheses(): number[] {
    const program = this.either();
    if (!this.take(')')) throw this.wrong("')'");
    return program;
  }

  private primitive(): number[] {
    if (this.take('proto')) return this.proto();
    if (this.next !== undefined && Object.hasOwn(PROTOS, this.next)) return this.proto();
    const side: Side = this.take('src') ? 'src' : this.take('dst') ? 'dst' : '';
    if (this.take('port')) return this.port(side, this.word('a port'));
    this.take('host', 'net');
    return this.address(side);
  }

  private proto(): number[] {
    const number = PROTOS[this.next ?? ''];
    if (number === undefined) throw this.wrong(Object.keys(PROTOS).join(', '));
    this.at++;
    return [f.PROTO, number, 0];
  }

  private port(side: Side, text: string): number[] {
    const [, low, high = low] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
    if (low === undefined || Number(high) > 65535 || Number(low) > Number(high)) {
      throw new ExpressionError(`'${text}' is no port: write 80 or 8000-8010`);
    }
    return [PORTS[side], Number(low), Number(high)];
  }

  /** `10.0.0.7`, `10.0.0.0/24`, `10.0.0.7:80`. */
  private address(side: Side): number[] {
    const text = this.word('host, net, port, proto, src, dst, a protocol or an address');
    const [, address = '', length = '32', port] = /^([\d.]+)(?:\/(\d{1,2}))?(?::([\d-]+))?$/.exec(text) ?? [];
    const addr = parseIpv4(address);
    if (addr === null || Number(length) > 32)
      throw new ExpressionError(`'${text}' is no address: write 10.0.0.7 or 10.0.0.0/24`);
    const mask = length === '0' ? 0 : netmaskOf(Number(length));
    const at = (one: Side): number[] => [HOSTS[one], addr & mask, mask];
    if (port === undefined) return at(side);
    const end = (one: Side): number[] => [...at(one), ...this.port(one, port), f.AND, 0, 0];
    return side === '' ? [...end('src'), ...end('dst'), f.OR, 0, 0] : end(side);
  }

  private get next(): string | undefined {
    return this.words[this.at];
  }

  private word(expected: string): string {
    if (this.next === undefined) throw this.wrong(expected);
    return this.words[this.at++]!;
  }

  private take(...words: string[]): boolean {
    if (this.next === undefined || !words.includes(this.next)) return false;
    this.at++;
    return true;
  }

  private wrong(expected: string): ExpressionError {
    const where = this.next === undefined ? 'the end' : `'${this.next}'`;
    return new ExpressionError(`the filter has ${where} where it should have ${expected}`);
  }
}
