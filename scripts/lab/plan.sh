# The plan of a lab: its hosts and wires, as its description in scripts/labs says. Sourced by lab.sh.
#
# A description sets `about`, `config` and `hint`, names wires, hosts and TAPs (or takes one of the two networks that most
# labs have) and servers with the words below, and has a function `tour` (what is seen in the lab, in the words of
# steps.sh), and if need be `prepare` (what is done at the hosts before tsvs starts).

declare -A interfaces=() # host -> "WIRE ADDRESS ...", an interface for each pair, eth0 onward
hosts=()                 # in the order of the description
wires=()
taps=() # "NAME WIRE"
servers=() # "HOST PROGRAM PORT"
quiet=''
about='' config='' hint=''
needs=labs        # what of setup.sh
shell_host=client # where the shell is
prepare() { :; }

# A bridge in the switch.
wire() { wires+=("$1"); }

# host NAME WIRE ADDRESS/PREFIX[,ADDRESS/PREFIX...] [WIRE ADDRESS/PREFIX]...; all of them are cables of that host.
host() {
  hosts+=("$1")
  interfaces[$1]=${*:2}
}

# A TAP of tsvs, a port of a bridge.
tap() { taps+=("$1 $2"); }

# one_arm [CLIENT ADDRESSES]: client, tsvs and servers in one network.
one_arm() {
  wire lan
  tap tap0 lan
  host client lan "${1:-192.168.100.1/24}"
  host rs1 lan 192.168.100.11/24
  host rs2 lan 192.168.100.12/24
}

# two_arms: tsvs between the network of the client and that of the servers.
two_arms() {
  wire outside
  wire inside
  tap tap0 outside
  tap tap1 inside
  host client outside 192.168.100.1/24
  host rs1 inside 10.1.0.11/24
  host rs2 inside 10.1.0.12/24
}

# web HOST [PORT]: HTTP that answers the name of the host, /from (whom it sees), /bytes/N. dns HOST: names by UDP.
web() { servers+=("$1 real-server.mjs ${2:-80}"); }
dns() { servers+=("$1 dns-server.mjs 53"); }

# Takes the description of lab $1 if there is one, otherwise that of the first lab, and says by its status which.
choose_lab() {
  local name=first word=1
  if [[ $1 =~ ^[a-z0-9-]+$ && -r $project/scripts/labs/$1.sh ]]; then
    name=$1 word=0
  fi
  lab_word='' without_terminal=show
  if [[ $name == first ]]; then
    lab=${TSVS_LAB:-tsvs} without_terminal=check
  else
    lab=${TSVS_LAB:-$name} lab_word=" $name"
  fi
  lab_name=$name
  [[ $lab =~ ^[a-z0-9]([a-z0-9-]{0,30})$ ]] || die "TSVS_LAB: '$lab' is no name of small letters, digits and dashes"
  # shellcheck disable=SC1090 # one of scripts/labs
  source "$project/scripts/labs/$name.sh"
  [[ -r $project/$config ]] || die "cannot read $config"
  return "$word"
}

list_labs() {
  local name
  for name in first $(cd "$project/scripts/labs" && printf '%s\n' *.sh | sed 's/\.sh$//' | grep -vx first | LC_ALL=C sort); do
    printf '%-18s %s\n' "$name" "$(sed -n "s/^about=['\"]\(.*\)['\"]$/\1/p" "$project/scripts/labs/$name.sh")"
  done
}

is_place() { [[ $1 == tsvs || $1 == switch || -n ${interfaces[$1]:-} ]]; }

# The namespace of a place. tsvs has none of its own: it is in the switch, where its TAPs are.
namespace() { if [[ $1 == tsvs ]]; then printf '%s-switch' "$lab"; else printf '%s-%s' "$lab" "$1"; fi; }
