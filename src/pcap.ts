/** Entry of the process behind a link of kind pcap, which pcap-open.ts starts; links/pcap-carrier.ts is what it does. */
import { carry } from './links/pcap-carrier.ts';

carry(process.argv.slice(2));
