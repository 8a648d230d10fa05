/** `tsvs replay` on captures made by hand: what is said of each packet, what is written, and what bad files do. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PcapReader } from '../../src/links/pcap-reader.ts';
import { type ReplayOptions, runReplay } from '../../src/replay/index.ts';
import { describe } from '../../stack/wire/pretty.ts';
import { arp, BROADCAST, echoRequest, ethernet, ipv4, tcp, udp } from '../lib/frames.ts';
import { Order, pcap } from '../lib/pcap-build.ts';
import { noCommands, testUnless } from '../lib/privilege.ts';

const folder = mkdtempSync(join(tmpdir(), 'tsvs-replay-'));
test.after(() => rmSync(folder, { recursive: true }));

const CONFIG = 'config/lb.conf';
const VIP = '192.168.100.10';
const VIP_MAC = '02:00:00:64:00:0a';
const CLIENT = '192.168.100.1';
const CLIENT_MAC = '02:00:00:00:00:01';
const SERVER_MAC = '02:00:00:00:00:11';
const NOBODY = '00:00:00:00:00:00';
const [ACK, SYN, PUSH] = [16, 2, 8];
const TO_VIP = { src: CLIENT, dst: VIP };

interface Timed {
  /** Seconds. */
  readonly at: number;
  readonly bytes: Uint8Array;
  readonly original?: number;
}

function save(name: string, packets: readonly Timed[]): string {
  const path = join(folder, name);
  const records = packets.map(({ at, bytes, original = bytes.length }) => {
    const micros = Math.round(at * 1e6);
    return { seconds: 1_700_000_000 + Math.floor(micros / 1e6), fraction: micros % 1e6, bytes, original };
  });
  writeFileSync(path, pcap(new Order(true), 0xa1b2c3d4, 1, records));
  return path;
}

interface Ran {
  readonly code: number;
  readonly lines: string[];
  readonly errors: string[];
  /** What follows ` = ` in the line of each packet. */
  readonly verdicts: string[];
}

function run(input: string, options: Partial<ReplayOptions> = {}): Ran {
  const lines: string[] = [];
  const errors: string[] = [];
  const output = { print: (line: string) => lines.push(line), complain: (line: string) => errors.push(line) };
  const code = runReplay(input, { config: CONFIG, ...options }, output);
  const verdicts = lines.flatMap((line) => /^ +\d+ {2}[\d.]+ {2}.* = (.*)$/.exec(line)?.[1] ?? []);
  const sums = lines.find((line) => line.startsWith('frames: '));
  if (sums !== undefined) {
    const [received, created, sent, delivered, dropped, held] = [...sums.matchAll(/\d+/g)].map(Number);
    assert.is(received! + created!, sent! + delivered! + dropped! + held!, sums);
  }
  return { code, lines, errors, verdicts };
}

const toVip = (type: number, payload: readonly number[]): Uint8Array => ethernet(VIP_MAC, CLIENT_MAC, type, payload);
const ip = (proto: number, payload: readonly number[], more: object = {}): Uint8Array =>
  toVip(0x0800, ipv4({ ...TO_VIP, proto, ...more }, payload));
const arpRequest = ethernet(BROADCAST, CLIENT_MAC, 0x0806, arp(1, CLIENT_MAC, CLIENT, NOBODY, VIP));
const ping = (seq: number): Uint8Array => ip(1, echoRequest(7, seq, [1, 2, 3, 4]));
const segment = (flags: number, seq: number, ack = 0, data: number[] = [], dport = 80): Uint8Array =>
  ip(6, tcp({ ...TO_VIP, sport: 40000, dport, seq, ack, flags, data }));
const damaged = (frame: Uint8Array, at: number): Uint8Array => {
  const copy = frame.slice();
  copy[at]! ^= 0x10;
  return copy;
};
const at = (list: readonly Uint8Array[], step = 0.001): Timed[] => list.map((bytes, i) => ({ at: i * step, bytes }));

test('each kind of packet gets its verdict', () => {
  const path = save(
    'kinds.pcap',
    at([
      arpRequest,
      ping(1),
      segment(SYN, 1000),
      damaged(ping(2), 14 + 8), // ttl: the header checksum is wrong
      damaged(segment(SYN, 2000), 14 + 20 + 7), // sequence number: the TCP checksum is wrong
      toVip(0x88b5, [1, 2, 3]),
      ip(6, tcp({ ...TO_VIP, sport: 40001, dport: 81, seq: 5, flags: SYN })),
      ip(17, udp(5000, 6000, [1])),
      ethernet('02:00:00:00:00:99', CLIENT_MAC, 0x0800, ipv4({ ...TO_VIP, proto: 1 }, echoRequest(7, 3))),
      toVip(0x0800, [0x65, ...ipv4({ ...TO_VIP, proto: 1 }, echoRequest(7, 4)).slice(1)]),
      toVip(0x0800, ipv4({ ...TO_VIP, proto: 6 }, [1, 2, 3])),
      Uint8Array.of(1, 2, 3),
    ]),
  );
  const { code, verdicts, errors, lines } = run(path);
  assert.is(code, 0);
  assert.equal(errors, []);
  const expected = [
    /^answered with ARP, Reply 192\.168\.100\.10 is-at 02:00:00:64:00:0a/,
    /^answered with IP 192\.168\.100\.10 > 192\.168\.100\.1: ICMP echo reply, id 7, seq 1/,
    /^answered with IP 192\.168\.100\.10\.80 > 192\.168\.100\.1\.40000: Flags \[S\.\], .* ack 1001,/,
    /^dropped: ip_checksum: IPv4 header checksum is wrong\.$/,
    /^dropped: tcp_checksum: TCP checksum is wrong\.$/,
    /^dropped: ethertype: No handler for this Ethernet type\.$/,
    /^dropped: tcp_no_socket: .*; sent IP 192\.168\.100\.10\.81 > 192\.168\.100\.1\.40001: Flags \[R\.\]/,
    /^dropped: udp_no_port: .*; sent IP .* ICMP port unreachable/,
    /^dropped: not_for_us: Unicast frame for another MAC address\.$/,
    /^dropped: ip_version: IP version is not 4\.$/,
    /^dropped: tcp_malformed: /,
    /^dropped: runt: /,
  ];
  assert.is(verdicts.length, expected.length);
  expected.forEach((pattern, i) => {
    assert.match(verdicts[i]!, pattern);
  });
  assert.ok(lines.some((line) => /^packets +12$/.test(line)));
  assert.ok(lines.some((line) => /^answered +3$/.test(line)));
  assert.ok(lines.some((line) => /^dropped: ip_checksum +1 {2}IPv4 header checksum is wrong\.$/.test(line)));
});

test('fragments are held until the datagram is whole, or its time is up', () => {
  const message = echoRequest(9, 1, new Array<number>(40).fill(7));
  const piece = (from: number, to: number, id: number): Uint8Array =>
    ip(1, message.slice(from, to), { id, fragment: (to < message.length ? 0x2000 : 0) | (from >> 3) });
  const path = save('fragments.pcap', at([arpRequest, piece(0, 24, 5), piece(24, 48, 5), piece(0, 24, 6)]));
  const { verdicts, lines } = run(path, { verbose: false });
  assert.match(verdicts[1]!, /^held: waits for the other fragments of its datagram \(id 5, offset 0\)$/);
  assert.match(verdicts[2]!, /^answered with IP .* ICMP echo reply, id 9, seq 1, length 48$/);
  assert.match(verdicts[3]!, /^held: .*id 6, offset 0/);
  assert.ok(
    lines.some((line) => /^dropped: frag_timeout +1 /.test(line)),
    lines.join('\n'),
  );
  const verbose = run(path, { verbose: true }).lines;
  assert.ok(
    verbose.some((line) => /^ +@ 30\.\d+ packet 4: dropped: frag_timeout/.test(line)),
    verbose.join('\n'),
  );
});

test('an answer waits for the address of a neighbour that the recording does not have', () => {
  const stranger = ethernet(
    VIP_MAC,
    CLIENT_MAC,
    0x0800,
    ipv4({ src: '192.168.100.77', dst: VIP, proto: 1 }, echoRequest(1, 1)),
  );
  const { verdicts, lines } = run(save('stranger.pcap', at([stranger])), { verbose: false });
  assert.match(
    verdicts[0]!,
    /^held: waits for the link-layer address of its next hop \(asked by ARP: 192\.168\.100\.77\); sent ARP, Request/,
  );
  assert.ok(
    lines.some((line) => /^dropped: neigh_failed +1 /.test(line)),
    lines.join('\n'),
  );
});

test('a recorded handshake completes, although our sequence numbers are others', () => {
  const request = [...'GET / HTTP/1.1\r\n\r\n'].map((c) => c.charCodeAt(0));
  const serverArp = (n: number): Uint8Array =>
    ethernet(VIP_MAC, SERVER_MAC, 0x0806, arp(2, SERVER_MAC, `192.168.100.${n}`, VIP_MAC, VIP));
  const path = save(
    'handshake.pcap',
    at([
      arpRequest,
      segment(SYN, 1000),
      segment(ACK, 1001, 778),
      segment(ACK | PUSH, 1001, 778, request),
      serverArp(11),
      serverArp(12),
    ]),
  );
  const { verdicts, lines } = run(path);
  assert.match(lines[2]!, /Flags \[\.\], ack 778,/, 'shown as it was recorded');
  assert.match(verdicts[2]!, /^delivered; sent ARP, Request who-has 192\.168\.100\.1[12] tell 192\.168\.100\.10/);
  assert.match(
    verdicts[3]!,
    /^held: lies in the receive queue of its connection .*18 bytes from 192\.168\.100\.1:40000/,
  );
  const syns = verdicts
    .slice(4)
    .filter((v) => /answered with IP 192\.168\.100\.10\.\d+ > 192\.168\.100\.1[12]\.80: Flags \[S\]/.test(v));
  assert.is(syns.length, 1, verdicts.join('\n'));
  const moved = run(path, { verbose: true }).lines.filter((line) => /\[acknowledgments moved by -?\d+\]$/.test(line));
  assert.is(moved.length, 2);
});

test('timers run between the packets', () => {
  const path = save('timers.pcap', [
    { at: 0, bytes: arpRequest },
    { at: 0.001, bytes: segment(SYN, 1000) },
    { at: 4, bytes: ping(1) },
  ]);
  const { lines } = run(path, { verbose: true });
  const times = lines.flatMap((line) => /@ ([\d.]+) by a timer: IP .* Flags \[S\.\]/.exec(line)?.[1] ?? []).map(Number);
  assert.ok(times.length >= 2, lines.join('\n'));
  assert.ok(Math.abs(times[0]! - 1.001) < 0.01 && Math.abs(times[1]! - 3.001) < 0.02, times.join());
  const ping3 = lines.findIndex((line) => /^ +3 {2}4\.000000/.test(line));
  assert.ok(lines.findIndex((line) => line.includes(`@ ${times[1]!.toFixed(6)}`)) < ping3);
});

test('a clock that jumps neither stops nor turns back', () => {
  const day = 24 * 3600;
  const packets = [0, 5, 3, 400 * day, 400 * day + 1].map((time, i) => ({
    at: time,
    bytes: i === 0 ? arpRequest : ping(i),
  }));
  const { code, verdicts, lines } = run(save('jumps.pcap', packets));
  assert.is(code, 0);
  assert.ok(
    verdicts.every((v) => v.startsWith('answered') || v.startsWith('held: waits for the link-layer')),
    verdicts.join('\n'),
  );
  assert.ok(lines.includes('1 packets are older than one before them: the clock stood still'));
  assert.ok(lines.includes('1 silences of more than an hour were shortened to one'));
});

test('frames for other stations are taken on demand', () => {
  const other = ethernet('02:00:00:00:00:99', CLIENT_MAC, 0x0800, ipv4({ ...TO_VIP, proto: 1 }, echoRequest(7, 3)));
  const path = save('other.pcap', at([arpRequest, other]));
  assert.match(run(path).verdicts[1]!, /^dropped: not_for_us/);
  assert.match(run(path, { anyMac: true }).verdicts[1]!, /^answered with IP .* ICMP echo reply/);
});

test('unfinished checksums are taken on demand', () => {
  const path = save('offload.pcap', at([arpRequest, damaged(segment(SYN, 1000), 14 + 20 + 16)]));
  assert.match(run(path).verdicts[1]!, /^dropped: tcp_checksum/);
  assert.match(run(path, { trustChecksums: true }).verdicts[1]!, /^answered with .* Flags \[S\.\]/);
});

test('a packet cut by the capture is said to be', () => {
  const path = save('cut.pcap', [{ at: 0, bytes: ping(1).subarray(0, 40), original: 60 }]);
  const { lines, verdicts } = run(path);
  assert.match(lines[0]!, /cut by the capture: 40 of 60 bytes/);
  assert.match(verdicts[0]!, /^dropped: ip_truncated/);
});

test('the same file gives the same report', () => {
  const path = save('same.pcap', at([arpRequest, segment(SYN, 1000), ping(1)]));
  assert.equal(run(path).lines, run(path).lines);
});

interface Written {
  readonly at: number;
  readonly what: string;
  readonly original: number;
}

function written(path: string): Written[] {
  const reader = new PcapReader(path);
  const list: Written[] = [];
  for (let p = reader.next(); p !== null; p = reader.next()) {
    const what = describe(p.bytes, 0, p.bytes.length);
    list.push({ at: p.timeMicros / 1e6 - 1_700_000_000, what, original: p.originalLength });
  }
  reader.close();
  return list;
}

test('the capture written holds packets and answers in order, at the times of the recording', () => {
  const out = join(folder, 'out.pcapng');
  const path = save('in.pcap', [
    { at: 0.5, bytes: arpRequest },
    { at: 0.75, bytes: ping(1) },
    { at: 0.8, bytes: ping(2).subarray(0, 50), original: 60 },
  ]);
  assert.is(run(path, { out }).code, 0);
  const frames = written(out).filter((f) => !f.what.includes('Announcement'));
  assert.equal(
    frames.map((f) => [f.at.toFixed(2), /who-has|is-at|request|reply/.exec(f.what)?.[0], f.original]),
    [
      ['0.50', 'who-has', 60],
      ['0.50', 'is-at', 60],
      ['0.75', 'request', 60],
      ['0.75', 'reply', 46],
      ['0.80', 'request', 60],
      ['0.80', 'reply', 46],
    ],
  );
});

const tshark = testUnless(noCommands('tshark'), test);

tshark('tshark reads the capture written: directions, comments, checksums', () => {
  const out = join(folder, 'tshark.pcapng');
  run(save('tshark.pcap', at([arpRequest, ping(1), segment(SYN, 1000), toVip(0x88b5, [1])])), { out });
  const checks = ['-o', 'ip.check_checksum:TRUE', '-o', 'tcp.check_checksum:TRUE'];
  const fields = ['frame.packet_flags_direction', 'frame.comment', '_ws.expert.message'];
  const { status, stdout } = spawnSync(
    'tshark',
    ['-r', out, '-Y', '!arp.isgratuitous', ...checks, '-T', 'fields', ...fields.flatMap((field) => ['-e', field])],
    { encoding: 'utf8' },
  );
  assert.is(status, 0);
  const rows = stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.split('\t'));
  const text = (row: string[] | undefined): string => `${Number(row?.[0])} ${row?.[1]}`;
  assert.match(text(rows[0]), /^1 #1: answered with ARP, Reply/);
  assert.is(text(rows[1]), '2 tsvs: because of #1');
  assert.match(text(rows[2]), /^1 #2: answered with IP .* ICMP echo reply/);
  assert.is(text(rows[3]), '2 tsvs: because of #2');
  assert.match(text(rows[4]), /^1 #3: answered with IP .*Flags \[S\.\]/);
  assert.is(text(rows[5]), '2 tsvs: because of #3');
  assert.match(text(rows[6]), /^1 #4: dropped: ethertype/);
  for (const row of rows) assert.not.match(row[2] ?? '', /checksum|malformed/i);
});

test('a file cut anywhere is reported up to there, never thrown at', () => {
  const whole = readFileSync(save('whole.pcap', at([arpRequest, ping(1)])));
  const ng = join(folder, 'whole.pcapng');
  run(join(folder, 'whole.pcap'), { out: ng });
  const path = join(folder, 'cut-anywhere.pcap');
  const boundaries = new Set([24, 24 + 76, 24 + 76 + 76]);
  for (let length = 0; length <= whole.length; length++) {
    writeFileSync(path, whole.subarray(0, length));
    const { code, errors } = run(path);
    assert.is(code, boundaries.has(length) ? 0 : 1, `${length} bytes`);
    if (code === 1) assert.match(errors.join(), /cut-anywhere\.pcap: .*\(at byte \d+\)$/);
  }
  const blocks = readFileSync(ng);
  for (let length = 0; length < blocks.length; length += 7) {
    writeFileSync(path, blocks.subarray(0, length));
    const { code, errors } = run(path);
    if (code === 1) assert.match(errors.join(), /\(at byte \d+\)$/);
    else assert.equal(errors, []);
  }
});

test('what cannot be replayed is named: no capture, another link type, no such file, the same file twice', () => {
  const text = join(folder, 'text.pcap');
  writeFileSync(text, 'this is no capture at all, but long enough');
  const out = join(folder, 'never.pcapng');
  const cases: [string, Partial<ReplayOptions>, RegExp][] = [
    [text, { out }, /text\.pcap: neither pcap nor pcapng.*\(at byte 0\)/],
    [join(folder, 'missing.pcap'), { out }, /missing\.pcap: there is no such file/],
    [folder, { out }, /is a directory/],
  ];
  const loopback = join(folder, 'null.pcap');
  writeFileSync(loopback, pcap(new Order(true), 0xa1b2c3d4, 0, []));
  cases.push([loopback, { out }, /link type 0 is not Ethernet \(1\) \(at byte 20\)/]);
  const good = save('good.pcap', at([ping(1)]));
  const before = readFileSync(good);
  cases.push([good, { out: good }, /is the file to be replayed/]);
  cases.push([good, { out: join(folder, 'missing', 'out.pcapng') }, /out\.pcapng: there is no such file or directory/]);
  for (const [input, options, message] of cases) {
    const { code, errors, lines } = run(input, options);
    assert.is(code, 1);
    assert.is(errors.length, 1);
    assert.match(errors[0]!, message);
    assert.equal(lines, []);
  }
  assert.not.ok(existsSync(out), 'no output is made for an input that cannot be read');
  assert.equal(readFileSync(good), before);
});

test('a wrong configuration is exit code 2, every error named', () => {
  const config = join(folder, 'bad.conf');
  writeFileSync(config, '[vip]\nip = 1.2.3\nprots = 80\n');
  const { code, errors } = run(save('any.pcap', []), { config });
  assert.is(code, 2);
  assert.ok(errors.length >= 2 && errors.some((e) => e.includes("did you mean 'ports'")), errors.join('\n'));
});

test('an empty capture is an empty report', () => {
  const { code, lines } = run(save('empty.pcap', []));
  assert.is(code, 0);
  assert.ok(lines.some((line) => /^packets +0$/.test(line)));
});

test.run();
