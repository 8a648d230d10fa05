/** DPDK's testpmd as the generator at the other end of memif: it makes packets of so many flows and throws away what comes back. */
import { spawn } from 'node:child_process';

/** 60 bytes of a frame, and the frame check sequence, which testpmd counts. */
const TXPKTS = 64;

export interface Testpmd {
  /** While it is stopped, its processor is free. */
  pause(): void;
  resume(): void;
  /** Throws an Error when it has ended before. */
  end(): Promise<void>;
}

/** Starts it as server of memif at each of the paths, its work on processor `core`, everything else of it on `other`. */
export function startTestpmd(paths: readonly string[], flows: number, core: string, other: string): Testpmd {
  const vdevs = paths.map(
    (path, i) => `--vdev=net_memif${i},role=server,id=0,socket=${path},socket-abstract=no,rsize=10,bsize=2048`,
  );
  const eal = ['--lcores', `0@${other},1@${core}`, '--no-huge', '-m', '512', '--no-pci', '--no-telemetry'];
  const flags = ['--total-num-mbufs=16384', '--no-mlockall', '--auto-start', '--disable-link-check'];
  const flow = ['--forward-mode=flowgen', `--flowgen-flows=${flows}`, `--txpkts=${TXPKTS}`];
  const topology = `--port-topology=${paths.length === 1 ? 'loop' : 'paired'}`;
  const words = [...eal, `--file-prefix=tsvs-${process.pid}`, ...vdevs, '--', ...flags, ...flow, topology];
  const child = spawn('dpdk-testpmd', words, { stdio: ['pipe', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const kill = (): boolean => child.kill('SIGKILL');
  process.once('exit', kill);
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
  child.on('error', (error) => {
    errors += error.message;
  });
  return {
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    end: async () => {
      process.off('exit', kill);
      if (child.exitCode !== null) throw new Error(`dpdk-testpmd ended: ${errors}`);
      kill();
      await ended;
    },
  };
}
