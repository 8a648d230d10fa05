/** The program's version, put in by the build. */
declare const TSVS_VERSION: string;

export const version: string = typeof TSVS_VERSION === 'string' ? TSVS_VERSION : '0.0.0-source';
