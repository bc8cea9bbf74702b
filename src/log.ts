import winston from 'winston';

/** What the program logs through; a component name is bound at creation. */
export type Logger = winston.Logger;

const root = winston.createLogger({
  level: process.env['CALICO_P4_LOG_LEVEL'] ?? 'info',
  format: winston.format.combine(winston.format.timestamp(), winston.format.json()),
  // stdout belongs to the commands' output; Felix copies stderr into its own.
  transports: [new winston.transports.Console({ stderrLevels: Object.keys(winston.config.npm.levels) })],
});

/** A logger whose lines carry `component`. */
export function logger(component: string): Logger {
  return root.child({ component });
}

export function setLogLevel(level: string): void {
  root.level = level;
}
