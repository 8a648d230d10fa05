/** The command line: what is typed, and which function it calls. Each command is a file of src/cli. */
import { Command, Option } from 'commander';
import { run } from './cli/run.ts';
import { version } from './version.ts';

export async function tsvs(argv: readonly string[]): Promise<void> {
  const program = new Command('tsvs')
    .description('A packet-level load balancer with its own TCP/IP stack.')
    .version(version);
  program
    .command('run')
    .description('serve what the configuration says, until SIGTERM')
    .requiredOption('--config <file>', 'configuration file, such as config/lb.conf')
    .option('--link <kind:device>', 'link to use instead of the configured one, such as tap:tap0')
    .option('--control <path>', 'unix socket for tsvs stats, sessions, drops and neigh')
    .option('--capture <file>', 'record every frame to a pcapng file')
    .addOption(new Option('--log <format>', 'log format').choices(['pretty', 'json']).default('pretty'))
    .action(run);
  await program.parseAsync(argv as string[]);
}

export async function l4lb(argv: readonly string[]): Promise<void> {
  const program = new Command('l4lb')
    .description('tsvs with the arguments of the F-Stack load balancer.')
    .version(version);
  program
    .requiredOption(
      '-c, --fstack <file>',
      "F-Stack's configuration, of which [portN] addr, netmask and gateway are read",
    )
    .requiredOption('--lb-config <file>', 'configuration file, such as config/lb.conf')
    .option('--link <kind:device>', 'link to use instead of the configured one, such as tap:tap0')
    .option('--control <path>', 'unix socket for tsvs stats, sessions, drops and neigh')
    .option('--capture <file>', 'record every frame to a pcapng file')
    .addOption(new Option('--log <format>', 'log format').choices(['pretty', 'json']).default('pretty'))
    .action((options) => run({ ...options, config: options.lbConfig }));
  await program.parseAsync(argv as string[]);
}
