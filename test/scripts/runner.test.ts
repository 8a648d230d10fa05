/** The runner of packet scripts itself: a script that is wrong, or a host that is, is told from one that is right. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseScript } from '../lib/script/parse.ts';
import { Play } from '../lib/script/play.ts';
import { ScriptError } from '../lib/script/script.ts';

const play = (...lines: string[]): void => new Play(parseScript('x.pkt', lines.join('\n'))).run();

/** The message with which these lines fail. */
function failure(...lines: string[]): string {
  try {
    play(...lines);
  } catch (e) {
    assert.instance(e, ScriptError);
    return (e as Error).message;
  }
  return assert.unreachable('the script passes') as never;
}

const OPEN = [
  '+0 listen(80)',
  '+0 < S 0:0(0) win 65535 <mss 1000>',
  '+0 > S. 0:0(0) ack 1 <*>',
  '+.1 < . 1:1(0) ack 1 win 65535',
];

test('a script that is right passes, with comments, blank lines and settings', () => {
  play(
    '// a comment',
    'congestion = reno // another',
    '',
    ...OPEN,
    '+0 write("a // b") = 6',
    '+0 > P. 1:7(6) ack 1 "a // b"',
  );
});

test('what differs is named, field by field, with line and text of the script', () => {
  const message = failure(...OPEN, '+0 write(10) = 10', '+0 > F. 2:13(11) ack 2 win 7');
  assert.is(
    message,
    [
      'x.pkt:6: the host sent something else',
      '    6 | +0 > F. 2:13(11) ack 2 win 7',
      '      | flags P., expected F.',
      '      | seq 1, expected 2',
      '      | length 10, expected 11',
      '      | ack 1, expected 2',
      '      | win 65535, expected 7',
      '      | got       @0.100 > P. 1:11(10) ack 1 win 65535',
    ].join('\n'),
  );
});

test('a segment too early, too late or never', () => {
  const open = [...OPEN, '+0 write(10) = 10'];
  assert.match(failure(...open, '+1 > P. 1:11(10) ack 1'), /too early: @0\.100, expected @1\.100/);
  // The second time-out, after 300 ms and then 600 ms.
  const twice = ['+0 > P. 1:11(10) ack 1', '+.3 > P. 1:11(10) ack 1'];
  assert.match(failure(...open, ...twice, '+.4 > P. 1:11(10) ack 1'), /x\.pkt:8: the host sent nothing\n.*\n.*@0\.800/);
  assert.match(failure(...open, ...twice, '+.5~.59 > P. 1:11(10) ack 1'), /sent nothing\n.*\n.*@0\.900~@0\.990/);
  play(...open, ...twice, '+.5~.7 > P. 1:11(10) ack 1');
  play(...open, ...twice, '+* > P. 1:11(10) ack 1', '@1 < . 1:1(0) ack 11');
});

test('what the script does not expect fails it: at the end, and where quiet is asked for', () => {
  assert.match(failure(...OPEN, '+0 write(10) = 10'), /the host sent 1 more\n.*\n.*@0\.100 > P\. 1:11\(10\) ack 1/);
  assert.match(failure(...OPEN, '+0 write(10) = 10', '+0 quiet'), /x\.pkt:6: the host was to be quiet/);
});

test('options: another value, one missing, one too many', () => {
  const syn = ['+0 listen(80)', '+0 < S 0:0(0) win 65535 <mss 1000,sackOK>'];
  assert.match(failure(...syn, '+0 > S. 0:0(0) ack 1 <mss 1400,sackOK>'), /mss 1460, expected 1400/);
  assert.match(failure(...syn, '+0 > S. 0:0(0) ack 1 <mss *,sackOK,wscale *>'), /no option wscale/);
  assert.match(failure(...syn, '+0 > S. 0:0(0) ack 1 <mss 1400~1500>'), /option sackOK .*is not expected/);
  assert.match(failure(...syn, '+0 > S. 0:0(0) ack 1'), /option mss 1460 is not expected/);
});

test('answers and results', () => {
  assert.match(failure(...OPEN, '? state CLOSED'), /state is something else\n.*\n.*= CLOSED\n.*got +ESTABLISHED/);
  assert.match(failure(...OPEN, '? cwnd > 10'), /expected +> 10\n.*got +10/);
  assert.match(failure(...OPEN, '? drops tcp_bad_ack 2'), /drops tcp_bad_ack is something else/);
  assert.match(failure(...OPEN, '+0 read(5) = 5'), /read\(\) returned something else\n.*\n.*5\n.*0/);
  assert.match(failure('+0 listen(80)', '+0 accept()'), /no connection to accept/);
  assert.match(failure('+0 write(1) = 1'), /connection #1 is not open/);
  assert.match(
    failure(...OPEN, '+0 < P. 1:3(2) ack 1 "ab"', '+0 read(9) = "ac"', '+* > . 1:1(0) ack 3'),
    /"ac"\n.*"ab"/,
  );
});

test('data: the bytes of each number are checked both ways', () => {
  // The peer repeats other bytes than the application wrote: what arrives must be what was sent, not what was expected.
  assert.match(
    failure(...OPEN, '+0 write("hello") = 5', '+0 > P. 1:6(5) ack 1 "hallo"'),
    /data "hello", expected "hallo"/,
  );
});

test('another connection than expected is named', () => {
  const two = [...OPEN, '+0 #2 < S 0:0(0) win 1000'];
  assert.match(failure(...two, '+0 > S. 0:0(0) ack 1 <*>'), /connection #2, expected #1/);
  play(...two, '+0 #2 > S. 0:0(0) ack 1 <*>');
});

for (const [line, what, right] of [
  ['< S 0:0(0)', "'<' is out of place", /\+0\.1 \(seconds after the step before\)/],
  ['+0 < S 0:5(0)', 'contradicts itself', /right is: 0:0\(0\)/],
  ['+0 < X 0:0(0)', "'X' is out of place", /flags out of S F R P/],
  ['+0 < . 0:0(0)', 'a segment with ACK names no number', /ack N/],
  ['+0 < S 0:0(0) ack 1', 'a segment without ACK names a number', /ack N/],
  ['+0 < S 0:0(0) win *', '* and ~ cannot be sent', /one number/],
  ['+0 < S 0:0(0) <mss>', 'out of place', /mss 7/],
  ['+0 < S 0:0(0) <mss 1 sackOK>', "'sackOK' is out of place", /a comma/],
  ['+0 < S 0:0(0) <colour 7>', "'colour' is no option", /mss, wscale/],
  ['+0 < S 0:0(0) upside_down', "'upside_down' is unknown", /bad_checksum/],
  ['+0 < [ect7] S 0:0(0)', '[ect7] is no ECN codepoint', /ect0/],
  ['+0 < P. 1:3(2) ack 1 "abc"', 'the text has 3 bytes, the numbers say 2', /\(3\)/],
  ['+0 < icmp unreachable far [1:1(0)]', "'unreachable far' is no ICMP error", /unreachable port/],
  ['+0 > S 0:0(0) win 5~3', '5~3 is empty', /smaller/],
  ['+.2~.1 > S 0:0(0)', 'the range of times is empty', /earlier/],
  ['+.1~.2 < S 0:0(0)', 'only what the host sends', /one time/],
  ['+0 jump(3)', 'there is no call jump()', /listen, unlisten/],
  ['+0 listen()', 'listen() with 0 arguments', /listen\(80\)/],
  ['+0 close() = 0', 'close() returns nothing', /close\(\)/],
  ['+0 #0 close()', 'there is no connection #0', /#1/],
  ['? colour red', 'there is no question colour', /state, end/],
  ['? drops tcp_colour 1', 'drops has no tcp_colour', /tcp_bad_ack/],
  ['? cwnd ten', "'ten' is out of place", /cwnd 10/],
  ['? state', 'state is a word', /ESTABLISHED/],
  ['colour = red', 'there is no setting colour', /congestion, ecn/],
  ['congestion = vegas', 'congestion cannot be vegas', /cubic or reno/],
  ['mtu = big', 'mtu cannot be big', /whole number/],
] as const) {
  test(`an error of writing: ${line}`, () => {
    const message = failure('', line);
    assert.ok(message.startsWith('x.pkt:2: '), message);
    assert.ok(message.includes(what), message);
    assert.match(message, right);
    assert.ok(message.includes(`    2 | ${line}\n`), message);
  });
}

test('settings come first, and once; a script has steps', () => {
  assert.match(failure('+0 listen(80)', 'ecn = on'), /x\.pkt:2: the setting ecn comes too late/);
  assert.match(failure('ecn = on', 'ecn = off'), /x\.pkt:2: ecn is set twice/);
  assert.match(failure('// nothing'), /the script has no step/);
});

test.run();
