/** The judge of HTTP answers: what it makes of them, and that it makes the same of them in any pieces. */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BODY_LIMIT, HttpJudge } from '../../../../lb/health/http.ts';
import * as result from '../../../../lb/health/result.ts';
import type { HttpRule } from '../../../../lb/health/spec.ts';

const rule = (body = ''): HttpRule => ({
  ...{ method: 'GET', path: '/', host: 'a', body: Buffer.from(body) },
  status: [
    { from: 200, to: 299 },
    { from: 401, to: 401 },
  ],
});

/** The result of an answer that arrives in pieces of this size, and then ends. */
function judge(answer: string, body = '', piece = answer.length): number {
  const judge = new HttpJudge(rule(body));
  const bytes = Buffer.from(answer);
  for (let at = 0; at < bytes.length; at += piece) {
    const verdict = judge.feed(bytes, at, Math.min(piece, bytes.length - at));
    if (verdict !== result.NONE) return verdict;
  }
  return judge.end();
}

const passed = (status: number): number => result.withStatus(result.PASSED, status);
const wrong = (status: number): number => result.withStatus(result.WRONG_STATUS, status);

const CASES: [answer: string, body: string, verdict: number][] = [
  ['HTTP/1.0 200 OK\r\n\r\n', '', passed(200)],
  ['HTTP/1.1 200\r\n', '', passed(200)],
  ['HTTP/1.1 200\n\n', '', passed(200)],
  ['HTTP/1.1 401 Unauthorized\r\n\r\n', '', passed(401)],
  ['HTTP/1.1 299 \r\n\r\n', '', passed(299)],
  ['HTTP/1.1 300 Multiple\r\n\r\n', '', wrong(300)],
  ['HTTP/1.1 199 Odd\r\n\r\n', '', wrong(199)],
  ['', '', result.CLOSED],
  ['HTTP/1.1 200', '', result.CLOSED],
  ['HTTP/2.0 200 OK\r\n\r\n', '', result.MALFORMED],
  ['HTTP/1.x 200 OK\r\n\r\n', '', result.MALFORMED],
  ['HTTP/1.1  200 OK\r\n\r\n', '', result.MALFORMED],
  ['HTTP/1.1 2000 OK\r\n\r\n', '', result.MALFORMED],
  ['HTTP/1.1 20x OK\r\n\r\n', '', result.MALFORMED],
  ['http/1.1 200 OK\r\n\r\n', '', result.MALFORMED],
  ['<html>200</html>', '', result.MALFORMED],
  ['HTTP/1.1 200 OK\r\nX: y\r\n\r\nall fine', 'fine', passed(200)],
  ['HTTP/1.1 200 OK\n\nall fine', 'fine', passed(200)],
  ['HTTP/1.1 200 fine\r\nX: fine\r\n\r\nall fin', 'fine', result.withStatus(result.WRONG_BODY, 200)],
  ['HTTP/1.1 200 OK\r\nX: fine\r\n', 'fine', result.CLOSED],
  ['HTTP/1.1 500 OK\r\n\r\nfine', 'fine', wrong(500)],
  ['HTTP/1.1 200 OK\r\n\r\nababac', 'abac', passed(200)],
  ['HTTP/1.1 200 OK\r\n\r\nna\u00efve', 'a\u00efv', passed(200)],
  [`HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(4000)}\r\nfine`, 'fine', result.MALFORMED],
];

test('what is made of answers, whole and in pieces of any size', () => {
  for (const [answer, body, verdict] of CASES) {
    for (const piece of [answer.length || 1, 1, 2, 3, 7]) {
      assert.is(judge(answer, body, piece), verdict, `${JSON.stringify(answer.slice(0, 60))} by ${piece}`);
    }
  }
});

test('a text is found exactly where a search of the whole finds it', () => {
  const letters = fc.stringMatching(/^[ab]{1,6}$/);
  const long = fc.stringMatching(/^[ab]{0,60}$/);
  fc.assert(
    fc.property(letters, long, fc.integer({ min: 1, max: 9 }), (wanted, text, piece) => {
      const verdict = judge(`HTTP/1.0 200 OK\r\n\r\n${text}`, wanted, piece);
      assert.is(result.codeOf(verdict), text.includes(wanted) ? result.PASSED : result.WRONG_BODY);
    }),
  );
});

test('a body without an end is given up at the limit', () => {
  const judge = new HttpJudge(rule('x'));
  const head = Buffer.from('HTTP/1.0 200 OK\r\n\r\n');
  assert.is(judge.feed(head, 0, head.length), result.NONE);
  const filler = Buffer.alloc(BODY_LIMIT, 'y');
  assert.is(judge.feed(filler, 0, BODY_LIMIT - 1), result.NONE);
  assert.is(judge.feed(filler, 0, 1), result.withStatus(result.WRONG_BODY, 200));
});

test.run();
