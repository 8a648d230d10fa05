/** The formats of the log by name: the command line knows them without loading what writes them (logger.ts). */
export const LOG_FORMATS = ['pretty', 'json'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];
