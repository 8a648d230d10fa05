/**
 * tcpdump records, tshark judges: with the checking of IP, ICMP, TCP and UDP checksums switched on, how many frames are
 * malformed or have a bad checksum, and what its analysis of TCP found, by sender. Captures must be made where frames
 * are complete: with the offloads of the interface off (VipNet with `offload: false`).
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import * as assert from 'uvu/assert';
import type { Running } from './netns.ts';
import type { VipNet } from './vip-net.ts';

/** tshark's findings about TCP that say something was lost, repeated or out of place. */
const FINDINGS = [
  'retransmission',
  'fast_retransmission',
  'spurious_retransmission',
  'out_of_order',
  'lost_segment',
  'ack_lost_segment',
  'duplicate_ack',
  'window_full',
  'zero_window',
  'zero_window_probe',
] as const;
export type Finding = (typeof FINDINGS)[number];

const CHECKSUMS = ['ip.checksum.status', 'tcp.checksum.status', 'udp.checksum.status', 'icmp.checksum.status'] as const;
const GOOD = '1';

export interface Judgement {
  readonly frames: number;
  /** TCP segments, by sender's MAC address. */
  readonly segments: Map<string, number>;
  /** Checksums found good. */
  readonly good: number;
  /** Frames with a checksum that is bad or that tshark could not check, and malformed ones: `number: what`. */
  readonly bad: string[];
  /**
   * TCP segments with 0xffff where the sum is zero. Linux finishes checksums in software so; receivers must take it (RFC
   * 1624 §3 says why it arises), tshark calls it bad. By sender's MAC address.
   */
  readonly negativeZero: Map<string, number>;
  /** By sender's MAC address, then finding. */
  readonly findings: Map<string, Map<Finding, number>>;
}

export class Capture {
  readonly file: string;
  private readonly tcpdump: Running;

  private constructor(tcpdump: Running, file: string) {
    this.tcpdump = tcpdump;
    this.file = file;
  }

  /** Records everything at the interface of a host, from now on. */
  static async start(lab: VipNet, place: string): Promise<Capture> {
    const file = join(lab.folder, `${place}-${performance.now().toFixed(0)}.pcap`);
    // A buffer of 64 MB: what the kernel drops here would look as if it had been lost.
    const words = ['tcpdump', '-Z', 'root', '-n', '-i', 'eth0', '-s', '0', '-B', '65536', '-w', file];
    const capture = new Capture(lab.net.start(place, words), file);
    await capture.tcpdump.waitFor(/listening on/);
    return capture;
  }

  /** Ends the recording. Throws when tcpdump has missed anything. */
  async stop(): Promise<void> {
    // Frames that have passed are handed over to tcpdump within its time-out of 1 s.
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await this.tcpdump.stop('SIGINT', 20_000);
    assert.match(this.tcpdump.output, /^0 packets dropped by kernel/m, this.tcpdump.output);
  }

  judge(): Promise<Judgement> {
    return judge(this.file);
  }
}

export async function judge(file: string): Promise<Judgement> {
  const checks = ['ip', 'tcp', 'udp'].flatMap((name) => ['-o', `${name}.check_checksum:TRUE`]);
  const fields = ['frame.number', 'eth.src', '_ws.malformed', 'tcp.len', 'tcp.checksum', ...CHECKSUMS];
  const analysis = FINDINGS.map((name) => `tcp.analysis.${name}`);
  const columns = [...fields, ...analysis].flatMap((name) => ['-e', name]);
  // What TCP carries is not at issue, and a dissector chosen by an ephemeral port would call it malformed.
  const payload = ['-o', 'tcp.desegment_tcp_streams:FALSE', '-d', 'tcp.port==1-65535,data'];
  const words = ['-n', '-r', file, ...payload, ...checks, '-T', 'fields', '-E', 'separator=;', ...columns];
  const tshark = spawn('tshark', words, { stdio: ['ignore', 'pipe', 'pipe'] });
  let complaints = '';
  tshark.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaints += text;
  });
  const ended = new Promise<number | null>((resolve) => tshark.on('close', resolve));

  const segments = new Map<string, number>();
  const negativeZero = new Map<string, number>();
  const findings = new Map<string, Map<Finding, number>>();
  const bad: string[] = [];
  let frames = 0;
  let good = 0;
  for await (const line of createInterface({ input: tshark.stdout })) {
    const cells = line.split(';');
    const [number, sender = '', malformed, tcpLength, tcpChecksum] = cells;
    frames++;
    if (malformed !== '') bad.push(`${number}: malformed`);
    if (tcpLength !== '') count(segments, sender);
    CHECKSUMS.forEach((name, i) => {
      const status = cells[fields.length - CHECKSUMS.length + i]!;
      if (status === GOOD) good++;
      else if (name === 'tcp.checksum.status' && tcpChecksum === '0xffff') count(negativeZero, sender);
      else if (status !== '') bad.push(`${number}: ${name} ${status}`);
    });
    FINDINGS.forEach((name, i) => {
      if (cells[fields.length + i] === '') return;
      const mine = findings.get(sender) ?? new Map<Finding, number>();
      findings.set(sender, mine);
      count(mine, name);
    });
  }
  const code = await ended;
  if (code !== 0) throw new Error(`tshark -r ${file}: exit code ${code}\n${complaints}`);
  return { frames, segments, good, bad, negativeZero, findings };
}

function count<K>(numbers: Map<K, number>, key: K): void {
  numbers.set(key, (numbers.get(key) ?? 0) + 1);
}
