/** Entry of the process behind a link of kind pcap, which pcap-open.ts starts; links/pcap-carrier.ts is what it does. */
import { carry } from './links/pcap-carrier.ts';

const words = process.argv.slice(2);
if (words.length >= 2) carry(words);
else console.error('pcap.js is started by tsvs, for links of kind pcap: tsvs run --link pcap:eth0');
