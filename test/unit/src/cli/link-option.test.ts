/** `--link` in place of the configured link. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EXIT, Failure } from '../../../../src/cli/failure.ts';
import { withLink } from '../../../../src/cli/link-option.ts';
import { config } from '../control/memory.ts';

function refusal(word: string): string {
  try {
    withLink(config(), word);
  } catch (error) {
    assert.instance(error, Failure);
    assert.is((error as Failure).exitCode, EXIT.USAGE);
    return (error as Failure).message;
  }
  return 'accepted';
}

test('kind and device are replaced, the rest stays', () => {
  const [before] = config().links;
  const after = withLink(config(), 'tap:tap9').links;
  assert.equal(after, [{ ...before, kind: 'tap', device: 'tap9', name: 'tap9' }]);
});

test('what is no link is explained', () => {
  for (const word of ['tap', ':tap0', 'tap:', '']) assert.match(refusal(word), 'expected KIND:DEVICE');
  assert.match(refusal('tpa:tap0'), "no link is of kind 'tpa'; did you mean 'tap'?");
  assert.match(refusal('toString:x'), "no link is of kind 'toString' (there are tap");
});

test.run();
