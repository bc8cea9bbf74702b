import { Command, Option } from 'commander';
import { CalicoP4Error } from '../errors';
import { setLogLevel } from '../log';
import { cleanup } from './cleanup';
import { runDriver } from './driver';
import * as lab from './lab';
import { replay, type ReplayOptions } from './replay';
import { EMBEDDED_UPLINK } from './stream';
import { runSwitch, type SwitchOptions } from './switch';
import { tables, type TablesOptions } from './tables';
import { trace, type TraceOptions } from './trace';

/** The commands. Errors are one line that says what to do, and exit code 1 (2 for wrong arguments). */
export function main(argv: readonly string[]): void {
  const print = (line: string): void => {
    process.stdout.write(`${line}\n`);
  };
  // `| head` closes our output: that is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });

  const program = new Command('calico-p4')
    .description('A Calico dataplane driver for P4 targets')
    .showHelpAfterError('(calico-p4 --help lists the commands)')
    .enablePositionalOptions()
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));

  program
    .command('driver')
    .description('what Felix starts: its desired state in, P4Runtime table entries out')
    .option(
      '--config <file>',
      'YAML file (default: CALICO_P4_CONFIG, else /etc/calico-p4/config.yaml if it is there)',
    )
    .option('--print-config', 'show the configuration that is in force, and stop')
    .action((options: { config?: string; printConfig?: boolean }) => run(() => runDriver(options, print)));

  program
    .command('cleanup')
    .description("take away what the driver has set up in the host's kernel: for when it is gone for good")
    .option('--config <file>', 'as of driver: interfaces.uplink and interfaces.host say where')
    .action((options: { config?: string }) => run(() => cleanup(options, print)));

  program
    .command('switch')
    .description('the embedded P4Runtime switch on its own')
    .option('--listen <address>', 'HOST:PORT or unix:PATH', '127.0.0.1:9559')
    .option('--device-id <n>', 'P4Runtime device id', '1')
    .option('--strict', 'behave as infrap4d does, not as the P4Runtime specification says')
    .option('--tls-cert <file>', 'PEM: certificate to show to controllers; without it, no TLS')
    .option('--tls-key <file>', 'PEM: its key')
    .option('--tls-client-ca <file>', 'PEM: controllers must show a certificate of one of these authorities')
    .option(
      '--engine <name>',
      'dpdk, interpreter, or auto: dpdk where it is built and the user is root',
      'auto',
    )
    .option('--engine-socket <path>', 'where the native engine listens', '/run/calico-p4/engine.sock')
    .option(
      '--engine-option <option>',
      'of the native engine, when it is started (may be repeated)',
      gather,
      [],
    )
    .option('--end-engine', 'end the native engine with the switch; else packets go on without it')
    .option(
      '--port <port>',
      'NUMBER=KIND:NAME[@NETNS][,mtu=N][,mac=M][,vlan=ID] (may be repeated)',
      gather,
      [],
    )
    .action((options: SwitchOptions) => run(() => runSwitch(options, print)));

  addLab(program, print);

  program
    .command('replay')
    .description('run the driver against the embedded switch, with a recorded stream as Felix')
    .argument('<stream>', 'bytes as Felix writes them to fd 3')
    .option('--packets <file>', 'JSON lines, one packet each, sent in order ("-" is standard input)')
    .option('--at <where>', 'stop the stream at insync, end, or after a frame (from 0)', 'end')
    .option('--json', 'one JSON line for each packet')
    .option('--strict', 'the switch behaves as infrap4d does: no MODIFY, among others')
    .option('--uplink <interface>', "the uplink's interface, which host endpoints may name", EMBEDDED_UPLINK)
    .action((stream: string, options: ReplayOptions) => run(() => replay(stream, options, print)));

  addPacketOptions(
    program
      .command('trace')
      .description("one packet's way in words: tables, rows, and the Calico rule that decided")
      .addOption(new Option('--stream <file>', 'a recorded stream').conflicts('target'))
      .option('--at <where>', 'with --stream: insync, end, or a frame', 'end')
      .option('--target <address>', 'a live target, read through P4Runtime (HOST:PORT or unix:PATH)')
      .option('--device-id <n>', 'with --target: P4Runtime device id', '1')
      .option(
        '--names <file>',
        "with --target: Calico's names, as the driver left them",
        '/run/calico-p4/names.json',
      ),
  ).action((options: TraceOptions) => run(() => trace(options, print)));

  program
    .command('tables')
    .description("what is on a target: rows with Calico's names, and how full each table is")
    .addOption(new Option('--stream <file>', 'a recorded stream').conflicts('target'))
    .option('--at <where>', 'with --stream: insync, end, or a frame', 'end')
    .option('--target <address>', 'a live target, read through P4Runtime (HOST:PORT or unix:PATH)')
    .option('--device-id <n>', 'with --target: P4Runtime device id', '1')
    .option(
      '--names <file>',
      "with --target: Calico's names, as the driver left them",
      '/run/calico-p4/names.json',
    )
    .option('--table <name>', 'only this table')
    .option('--fill', 'only how full the tables are')
    .option('--counters', 'with --target: packets by rule, and by what became of them')
    .option('--json', 'one JSON line for each row')
    .action((options: TablesOptions) => run(() => tables(options, print)));

  program.parse(argv);
}

function addLab(program: Command, print: (line: string) => void): void {
  const commands = program
    .command('lab')
    .enablePositionalOptions()
    .description(
      'a small node on this machine to play with: pods on the native engine, with policy (needs root)',
    );
  const command = (words: string, description: string): Command =>
    commands
      .command(words)
      .description(description)
      .option('--name <name>', 'of the lab, where there are several', 'lab');
  command('up', 'build it')
    .argument('[file]', 'pods and policies (default: examples/lab.yaml)')
    .option('--recording <stream>', 'instead of a file: what a Felix wrote to fd 3; pods are its endpoints')
    .option('--at <where>', 'with --recording: stop it at insync, end, or after a frame (from 0)', 'end')
    .option('--pods <n>', 'with --recording: make at most so many pods', '20')
    .action((file: string | undefined, options: lab.UpOptions) => run(() => lab.up(file, options, print)));
  command('exec', 'run a command in a pod, outside or on the host; all know each other by name')
    .usage('[--name <name>] <pod>|outside|host -- <command...>')
    .argument('<pod>')
    .argument('<command...>')
    .passThroughOptions()
    .action((pod: string, words: string[], options: lab.LabOptions) =>
      run(() => lab.exec(pod, words, options)),
    );
  command('status', 'its pods, their ports and packets').action((options: lab.LabOptions) =>
    run(() => lab.status(options, print)),
  );
  command('down', 'remove it, also one that crashed').action((options: lab.LabOptions) =>
    run(() => lab.down(options, print)),
  );
  commands
    .command('node', { hidden: true })
    .option('--name <name>', '', 'lab')
    .action((options: lab.LabOptions) => run(() => lab.node(options)));
}

function addPacketOptions(command: Command): Command {
  return command
    .requiredOption('--from <port>', "a workload's interface name, uplink, or host")
    .requiredOption('--src <address>')
    .requiredOption('--dst <address>')
    .requiredOption('--proto <protocol>', 'a number or tcp, udp, icmp, icmpv6, sctp, …')
    .option('--sport <port>')
    .option('--dport <port>')
    .option('--icmp-type <n>')
    .option('--icmp-code <n>')
    .option('--tcp-flags <letters>', 'of FSRPAUEC; S unless told')
    .option('--tunnel <json>', 'from another node, in a tunnel: the key "tunnel" of the packet file');
}

function run(command: () => Promise<void>): Promise<void> {
  if (process.env['CALICO_P4_LOG_LEVEL'] === undefined) setLogLevel('warn');
  return command().catch((error: unknown) => {
    if (!(error instanceof CalicoP4Error)) throw error;
    process.stderr.write(`calico-p4: ${error.message} [${error.code}]\n`);
    process.exitCode = error.code === 'USAGE' || error.code === 'CONFIG_INVALID' ? 2 : 1;
  });
}

/** Options that may be given several times. */
function gather(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}
