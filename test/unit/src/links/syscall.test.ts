import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as sys from '../../../../src/links/syscall.ts';
import { testUnless } from '../../../lib/privilege.ts';

const linux = testUnless(process.platform === 'linux' ? undefined : 'system calls are those of Linux', test);

linux('a failed call says which error it was, by the name in the manual', () => {
  const call = sys.syscalls();
  assert.is(call.read(-1, 0, 0), -1);
  assert.is(sys.errnoName(call.errno()), 'EBADF');
  assert.is(sys.errnoName(sys.EAGAIN), 'EAGAIN');
  assert.is(sys.errnoName(sys.EBADFD), 'EBADFD');
  assert.is(sys.errnoName(sys.ENETDOWN), 'ENETDOWN');
  assert.is(sys.errnoName(4095), 'errno 4095');
});

linux('the system reads and writes memory of ours, addresses above 4 GB included', () => {
  const call = sys.syscalls();
  const event = call.eventfd(0, sys.EFD_NONBLOCK | sys.EFD_CLOEXEC);
  const value = new sys.NativeBytes(call, 8);
  assert.is(call.read(event, value.address, 8), -1);
  assert.is(call.errno(), sys.EAGAIN);
  value.set64(0, 0x1234_5678_9abc);
  assert.is(call.write(event, value.address, 8), 8);

  const pollfd = new sys.NativeBytes(call, 8);
  pollfd.i32[0] = event;
  pollfd.u16[2] = sys.POLLIN;
  assert.is(call.poll(pollfd.address, 1, 0), 1);
  assert.is(pollfd.u16[3], sys.POLLIN);

  const iov = new sys.NativeBytes(call, 16);
  const back = new sys.NativeBytes(call, 8);
  iov.set64(0, back.address);
  iov.set64(8, 8);
  assert.is(call.readv(event, iov.address, 1), 8);
  assert.equal([...back.u8], [0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12, 0, 0]);
  assert.is(call.poll(pollfd.address, 1, 0), 0);
  assert.is(call.close(event), 0);
});

linux('memory can be mapped and given back', () => {
  const call = sys.syscalls();
  const readWrite = 3;
  const privateAnonymous = 0x22;
  const address = call.mmap(0, 4096, readWrite, privateAnonymous, -1, 0);
  assert.ok(address > 0 && address % 4096 === 0);
  assert.is(call.munmap(address, 4096), 0);
});

test.run();
