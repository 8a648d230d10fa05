/**
 * A client that notes who answers: makes connections one at a time from given addresses and ports and reads the server's name from each.
 * Program: `chosen-client.ts SOCKET`; a line from the unix socket is a round as JSON, a line back what came of it. Connections that are
 * held end with a reset at an empty line. Started by test/e2e/ipvs-choice.test.ts (`Chosen`).
 */
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

export interface Round {
  readonly address: string;
  readonly port: number;
  /** `ADDRESS:PORT` of each connection, in order. */
  readonly from: readonly string[];
  readonly hold: boolean;
}

/** The name that the server gives as the body of its answer, or the code of the error. */
function ask({ address, port, hold }: Round, from: string, held: Socket[]): Promise<string> {
  const [localAddress, localPort] = from.split(':');
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, localAddress, localPort: Number(localPort) });
    let text = '';
    socket.setTimeout(5000, () => socket.destroy(new Error('silence')));
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.on('data', (data) => {
      text += data.toString('latin1');
      const [, name] = /\r\n\r\n(.*)\n/.exec(text) ?? [];
      if (name === undefined) return;
      socket.setTimeout(0);
      if (hold) {
        held.push(socket);
        resolve(name);
      } else socket.end().on('close', () => resolve(name));
    });
    socket.write(`GET / HTTP/1.1\r\nHost: x\r\n\r\n`);
  });
}

async function main(): Promise<void> {
  const [path = ''] = process.argv.slice(2);
  const control = connect(path);
  const held: Socket[] = [];
  for await (const line of createInterface({ input: control })) {
    const names: string[] = [];
    if (line === '') for (const socket of held.splice(0)) socket.resetAndDestroy();
    else {
      const round = JSON.parse(line) as Round;
      for (const from of round.from) names.push(await ask(round, from, held));
    }
    control.write(`${JSON.stringify(names)}\n`);
  }
}

await main();
