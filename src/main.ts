/** The command line: what is typed, and which function it calls. Each command is a file of src/cli. */
import { Argument, Command, CommanderError, Option } from 'commander';
import { capture } from './cli/capture.ts';
import { CONFIG_ACTIONS, config } from './cli/config.ts';
import { CONN_ACTIONS, conn } from './cli/conn.ts';
import { dpip } from './cli/dpip.ts';
import { drops } from './cli/drops.ts';
import { EXIT, Failure } from './cli/failure.ts';
import { IPVSADM_PROGRAMS, runIpvsadm } from './cli/ipvsadm.ts';
import { neigh } from './cli/neigh.ts';
import { reload } from './cli/reload.ts';
import { SERVER_ACTIONS, server } from './cli/server.ts';
import { sessions } from './cli/sessions.ts';
import { stats } from './cli/stats.ts';
import { WHY_PROTOS, why } from './cli/why.ts';
import { defaultSocket } from './control/socket.ts';
import { requestCount, seedNumber } from './demo/options.ts';
import { LOG_FORMATS } from './log/format.ts';
import { version } from './version.ts';

/** A command that is loaded when it is called: these bring configuration and data plane along, which the others answer without. */
const later =
  <A extends unknown[]>(load: () => Promise<(...args: A) => unknown>) =>
  async (...args: A): Promise<void> => {
    await (await load())(...args);
  };
const run = later(async () => (await import('./cli/run.ts')).run);
const check = later(async () => (await import('./cli/check.ts')).check);
const demo = later(async () => (await import('./demo/index.ts')).demo);
const replay = later(async () => (await import('./replay/index.ts')).replay);

const EXIT_CODES = `
Exit codes:
  0  done
  1  the command line is wrong; demo and replay: something failed
  2  the configuration is wrong
  3  the system refuses: link, privilege, control socket, capture file
  4  the worker died or hangs
  5  no tsvs is running there
`;

const TSVS_EXAMPLES = `
Examples:
  tsvs demo
  tsvs check --config config/lb.conf
  sudo tsvs run --config config/lb.conf --link tap:tap0
  tsvs stats
  tsvs sessions --json
  tsvs server web/server1 drain
  tsvs why 10.0.0.7:40000 10.0.0.10:80
`;

const L4LB_EXAMPLES = `
Examples:
  sudo l4lb -c /etc/f-stack.conf --lb-config config/lb.conf
`;

export async function tsvs(argv: readonly string[]): Promise<void> {
  // Everything behind it is ipvsadm's own, -h and --version included.
  if (argv[2] === 'dpip') return guarded('tsvs', () => dpip(argv.slice(3)));
  const first = IPVSADM_PROGRAMS.find((program) => program === argv[2]);
  if (first !== undefined) return ipvsadm(first, argv.slice(3));
  const program = newProgram('tsvs', 'A packet-level load balancer with its own TCP/IP stack.', TSVS_EXAMPLES);
  const start = program.command('run').description('serve what the configuration says, until SIGTERM');
  demand(start, '--config <file>', CONFIG);
  runOptions(start).action(run);
  const judge = program
    .command('check')
    .description('say whether a configuration is good: every mistake, or a summary');
  demand(judge, '--config <file>', CONFIG).action(check);
  program
    .command('demo')
    .description('show it all in one process: client, tsvs and two servers, the way of one packet')
    .option('--requests <n>', 'HTTP requests to send', requestCount, 20)
    .option('--seed <n>', 'another seed is another run', seedNumber, 1)
    .option('--capture <file>', "record every frame of tsvs' port to a pcapng file")
    .action(demo);
  const again = program
    .command('replay')
    .description('feed a capture to tsvs and say what becomes of each packet')
    .argument('<capture>', 'pcap or pcapng file of Ethernet frames');
  demand(again, '--config <file>', CONFIG)
    .option('--out <file>', 'write packets and answers to a pcapng file')
    .option('--verbose', 'show every answer, and what happens between the packets')
    .option('--any-mac', 'take frames addressed to other stations too')
    .option('--trust-checksums', 'the capture holds unfinished TCP and UDP checksums (offload): do not verify them')
    .action(replay);
  const views = { stats, sessions, drops, neigh };
  for (const [name, action] of Object.entries(views)) {
    asking(program.command(name).description(DESCRIPTIONS[name as keyof typeof views])).action(action);
  }
  const renew = program
    .command('reload')
    .description('have it read its configuration again and change what is different');
  asking(renew.option('--config <file>', 'another file than the one it was started with')).action(reload);
  asking(program.command('config').description('print its configuration as a file that reproduces it'))
    .addArgument(new Argument('<action>', 'what to do').choices(CONFIG_ACTIONS))
    .action(config);
  asking(program.command('conn').description('list, count and end its connections of layer 4'))
    .addArgument(new Argument('<action>', 'what to do').choices(CONN_ACTIONS))
    .argument('[filters...]', 'proto=, state=, service=, client=, vip=, server=; client and vip with port or without')
    .option('--limit <n>', 'list at most so many', '1000')
    .action(conn);
  const record = program
    .command('capture')
    .description('write frames of it to a pcapng file while it runs, each with what became of it')
    .argument('<file>', '- is standard output')
    .option('--filter <expression>', "which frames, such as 'host 10.0.0.7 and tcp port 80'")
    .option('--stage <list>', 'where to look: rx, tx, drop, delivered, pre_routing, ... or all (default: rx,tx,drop)')
    .option('--count <n>', 'end after so many frames')
    .option('--seconds <s>', 'end after so long')
    .option('--snap <bytes>', 'bytes of each frame at most (default: all)')
    .option('--control <path>', `control socket of the running tsvs (default: ${defaultSocket()})`);
  record.action(capture);
  asking(program.command('why').description('say what would become of a packet, or what holds for its flow'))
    .argument('<from>', 'such as 10.0.0.7:40000')
    .argument('<to>', 'such as 10.0.0.10:80')
    .addArgument(new Argument('[proto]', 'its protocol').choices(WHY_PROTOS).default('tcp'))
    .option('--first', 'the first of a flow, even if the flow is known: a SYN, an echo request')
    .option('--next', 'a later one, even if the flow is not known: an ACK, an echo reply')
    .option('--link <name>', 'the link it comes in on (default: where the route to its sender leads)')
    .option('--size <bytes>', 'its length, headers included')
    .option('--ttl <n>', 'its time to live (default: 64)')
    .option('--df', 'it must not be fragmented')
    .action(why);
  program
    .command('ipvsadm')
    .description('services and servers of layer 4 with the options of ipvsadm (also ipvsadm-save, ipvsadm-restore)')
    .argument('[words...]', 'such as -L -n');
  program
    .command('dpip')
    .description('its links, addresses, routes and neighbours with the grammar of dpip')
    .argument('[words...]', 'such as addr show');
  asking(program.command('server').description('show a server of it, or change its weight or state'))
    .argument('<service/server>', 'such as web/server1')
    .addArgument(new Argument('[action]', 'what to do').choices(SERVER_ACTIONS))
    .argument('[weight]', 'for weight: 0..65535')
    .option('--within <time>', 'for maint: reset the sessions that are left after this time, such as 30s')
    .action(server);
  await parse(program, argv);
}

/** ipvsadm and its two companions; `words` without the program. */
export async function ipvsadm(program: string, words: readonly string[]): Promise<void> {
  const known = IPVSADM_PROGRAMS.find((one) => one === program);
  process.exitCode = await runIpvsadm(known ?? 'ipvsadm', words);
}

const CONFIG = 'configuration file, such as config/lb.conf';

const DESCRIPTIONS = {
  stats: 'show services, servers, frames and counters of the running tsvs',
  sessions: 'show its open sessions',
  drops: 'show why it dropped frames',
  neigh: 'show the neighbours on its links',
};

export async function l4lb(argv: readonly string[]): Promise<void> {
  const program = newProgram('l4lb', 'tsvs with the arguments of the F-Stack load balancer.', L4LB_EXAMPLES);
  demand(program, '-c, --fstack <file>', "F-Stack's configuration: addr, netmask and gateway of [portN] are read");
  demand(program, '--lb-config <file>', CONFIG);
  runOptions(program).action((options) => run({ ...options, config: options.lbConfig }));
  await parse(program, argv);
}

function newProgram(name: string, description: string, examples: string): Command {
  return new Command(name)
    .description(description)
    .version(version)
    .addHelpText('after', `${examples}${EXIT_CODES}`)
    .configureOutput({
      // One line, with the suggestion that stands on a line of its own by default.
      outputError: (text, write) =>
        write(
          `${name}: ${text
            .replace(/^error: /, '')
            .trim()
            .replaceAll('\n', ' ')}\n`,
        ),
    })
    .exitOverride();
}

/** An option that must be there. Unlike commander's own check, this one lets a mistyped option be complained about first. */
function demand(command: Command, flags: string, description: string): Command {
  const option = new Option(flags, description);
  return command.addOption(option).hook('preAction', () => {
    if (command.opts()[option.attributeName()] === undefined) command.error(`error: option '${flags}' is missing`);
  });
}

function runOptions(command: Command): Command {
  return command
    .option('--link <kind:device>', 'link to use instead of the configured one, such as tap:tap0')
    .option('--control <path>', `control socket (default: control_socket of the configuration, or ${defaultSocket()})`)
    .option('--capture <file>', 'record every frame to a pcapng file')
    .option(
      '--fault <spec>',
      'make links bad, both ways, such as loss=1%,duplicate=1%,reorder=1%,delay=2ms,seed=7, or lan:loss=1%',
    )
    .addOption(new Option('--log <format>', 'log format').choices(LOG_FORMATS).default('pretty'));
}

/** Options of the commands that speak to a running tsvs. */
function asking(command: Command): Command {
  return command
    .option('--control <path>', `control socket of the running tsvs (default: ${defaultSocket()})`)
    .option('--json', 'print the reply as JSON');
}

/** Runs what was typed; every end but a normal one sets the exit code and has printed why. */
async function parse(program: Command, argv: readonly string[]): Promise<void> {
  // The reader of a pipe may have seen enough.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT.OK);
    throw error;
  });
  await guarded(program.name(), () => program.parseAsync(argv as string[]));
}

async function guarded(name: string, run: () => Promise<unknown>): Promise<void> {
  try {
    await run();
  } catch (error) {
    process.exitCode = report(name, error);
  }
}

function report(name: string, error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode;
  if (!(error instanceof Failure)) throw error;
  console.error(error.exitCode === EXIT.CONFIG ? error.message : `${name}: ${error.message}`);
  return error.exitCode;
}
