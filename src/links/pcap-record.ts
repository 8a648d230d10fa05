/**
 * What passes between tsvs and the process that holds libpcap (pcap-carrier.ts), over a socket of whole records: frames both ways,
 * and to tsvs reports, which are shorter than any frame. The first record to tsvs is READY or, in words, why there is no link.
 *
 * ```
 *  0 state u32      4 frames lost on the way to tsvs u32      8 frames the interface refused u32      (since the last report)
 * ```
 */
export const READY = 'ready';
export const REPORT_BYTES = 12;

/** Nothing passes: the interface is looked for. */
export const AWAY = 0;
export const OPEN = 1;
/** The interface is there, and libpcap cannot open it. */
export const FAILED = 2;

/** Bytes of the largest record: a frame as long as the package `cap` lets them be. */
export const RECORD_MAX = 65536;

/** The first answer when the package does not load: this word, and why. */
export const NO_CAP = 'NO_CAP';

/** Who the process is: the first one, which answers, or one that takes the place of another. */
export const FIRST = 'first';
export const AGAIN = 'again';

/** The descriptor of the socket there. */
export const SOCKET = 3;
