# Sourced by the scripts beside it: where the project stands, and how scripts speak.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# Debian keeps ip, tcpdump and nginx where an ordinary user's PATH does not look.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

say() { printf '%s\n' "$*"; }

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}
