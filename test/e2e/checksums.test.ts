/**
 * Complete frames on every wire, as an Ethernet cable would have them, recorded at the client and at the server and
 * judged by tshark with every checksum check switched on: the frames tsvs sends are right, and it repeats nothing that
 * its own counters do not own up to.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { load } from '../lib/http-load.ts';
import { isRealRoot, noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import { Capture, type Finding, type Judgement } from '../lib/tshark.ts';
import { VIP, VIP_MAC, VipNet } from '../lib/vip-net.ts';

const tools = noCommands('ip', 'ping', 'curl', 'ab', 'ethtool', 'tcpdump', 'tshark');
// tcpdump wants to change its user, which it cannot in a user namespace.
const add = testUnless(noNamespaces() ?? tools ?? (isRealRoot() ? undefined : 'tcpdump needs root'), test);

const THIRTY_MB = 30_000_000;
const REPEATED: readonly Finding[] = ['retransmission', 'out_of_order'];

let lab: VipNet | undefined;

async function makeLab(): Promise<VipNet> {
  const made = await VipNet.start({ servers: 1, offload: false });
  await Promise.all([made.startHttp(), made.startTalk()]);
  return made;
}

/** Runs `body` while client and server record, and has both recordings judged. */
function judged(name: string, leastFrames: number, body: (lab: VipNet) => Promise<void>): void {
  add(name, async () => {
    lab ??= await makeLab();
    const before = (await lab.stats()).counters;
    const captures = [await Capture.start(lab, 'client'), await Capture.start(lab, 'rs1')];
    await body(lab);
    await lab.quiet();
    await Promise.all(captures.map((capture) => capture.stop()));
    const after = (await lab.stats()).counters;
    const growth = (counter: string): number => after[counter]! - before[counter]!;
    const judgements = await Promise.all(captures.map((capture) => capture.judge()));
    console.log(`${name}: tsvs counted ${growth('tcp.retransSegs')} repeated, ${growth('tcp.timeouts')} time-outs`);
    for (const [i, judgement] of judgements.entries()) describe(['client', 'server'][i]!, judgement);

    const { frames } = judgements[0]!;
    assert.ok(frames >= leastFrames, `only ${frames} frames were recorded`);
    for (const judgement of judgements) assertSound(judgement);
    const repeated = sum(judgements.map((one) => sum(REPEATED.map((finding) => found(one, VIP_MAC, finding)))));
    assert.ok(repeated <= growth('tcp.retransSegs'), `tsvs repeated ${repeated} segments and counted fewer`);
    // A machine with more to do than it has processors may hold an acknowledgment back for 200 ms, but rarely.
    assert.ok(growth('tcp.retransSegs') <= growth('tcp.outSegs') / 1000);
  });
}

/** Every frame is well-formed, and tsvs said nothing twice that it was not asked to. */
function assertSound(judgement: Judgement): void {
  assert.equal(judgement.bad.slice(0, 10), []);
  assert.is(judgement.negativeZero.get(VIP_MAC) ?? 0, 0, 'a zero checksum of tsvs is 0x0000');
  for (const finding of ['lost_segment', 'ack_lost_segment'] as const) assert.is(found(judgement, VIP_MAC, finding), 0);
  // Each segment that comes twice is acknowledged again (RFC 9293 §3.10.7.4); nothing else calls for that here.
  const again = sum(
    [...judgement.segments.keys()].map((sender) => (sender === VIP_MAC ? 0 : repeats(judgement, sender))),
  );
  assert.ok(found(judgement, VIP_MAC, 'duplicate_ack') <= again, 'duplicate acknowledgments without a cause');
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0);
const found = ({ findings }: Judgement, sender: string, finding: Finding): number =>
  findings.get(sender)?.get(finding) ?? 0;
const repeats = (judgement: Judgement, sender: string): number =>
  sum([...REPEATED, 'lost_segment' as const].map((finding) => found(judgement, sender, finding)));

function describe(place: string, { frames, good, segments, findings }: Judgement): void {
  console.log(`  at the ${place}: ${frames} frames, ${good} checksums good`);
  for (const [sender, n] of segments) {
    const list = [...(findings.get(sender) ?? [])].map(([finding, times]) => `${finding} ${times}`).join(', ');
    console.log(`    from ${sender === VIP_MAC ? 'tsvs' : 'the kernel'}: ${n} segments, ${list || 'nothing found'}`);
  }
}

judged('ping -f -c 10000', 20_000, async (lab) => {
  await lab.ping(10_000);
});

judged('30 MB down', 20_000, (lab) => lab.download(THIRTY_MB));

judged('30 MB up', 20_000, async (lab) => {
  const { answer, right } = await lab.talk<{ answer: string; right: string }>('upload', THIRTY_MB);
  assert.is(answer, right);
});

judged('3,000 requests, 256 at a time', 24_000, async (lab) => {
  const { complete, failed, report } = await load(lab, {
    requests: 3000,
    concurrency: 256,
    url: `http://${VIP}/`,
  });
  assert.equal([complete, failed], [3000, 0], report);
});

add('tsvs leaves in order, every frame accounted for', async () => {
  await lab!.close();
});

test.after(() => lab?.net.remove());

test.run();
