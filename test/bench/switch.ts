/** The embedded switch as a process: `switch.js ADDRESS`. */
import { startInterpreter } from '../../src/cli/embedded';

void startInterpreter(process.argv[2]!, 1).then(() => {
  process.stdout.write('ready\n');
});
