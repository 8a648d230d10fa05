# What a running lab leaves on disk so that it can be found and ended: a directory with the processes it started, its
# logs and tsvs' control socket. Sourced by lab.sh.

# The directory is the user's own: under $XDG_RUNTIME_DIR, or under /tmp with the user's number in its name.
state_locate() {
  state=${TSVS_LAB_STATE:-}
  [[ -n $state ]] && return
  local base=${XDG_RUNTIME_DIR:-/tmp}
  [[ -d $base && -w $base ]] || base=/tmp
  state=$base/tsvs-lab-$EUID-$lab
}

state_exists() {
  [[ -e $state ]] || return 1
  [[ -d $state && -O $state ]] || die "$state is there and belongs to somebody else"
}

# Begins a lab; the remains of one that was killed are removed first.
state_create() {
  if state_exists; then
    if [[ -n $(living) ]]; then
      trap - EXIT
      die "the lab '$lab' is up already; 'scripts/lab.sh$lab_word down' ends it, TSVS_LAB=NAME makes another"
    fi
    end_lab
  fi
  mkdir -m 700 "$state"
  make_commands
  remember owner $$
}

# When process $1 started, in clock ticks since boot: with its number it names a process for good.
start_time() {
  local stat fields
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  read -ra fields <<<"${stat##*) }"
  [[ ${fields[0]} != [ZX] ]] && printf '%s' "${fields[19]}"
}

is_alive() { [[ -n $2 && $(start_time "$1") == "$2" ]]; }

# Notes process $2 under the role $1.
remember() { printf '%s %s %s\n' "$1" "$2" "$(start_time "$2")" >>"$state/processes"; }

# The processes of the lab that still run: role, number, start time.
living() {
  local role pid start
  [[ -e $state/processes ]] || return 0
  while read -r role pid start; do
    is_alive "$pid" "$start" && printf '%s %s %s\n' "$role" "$pid" "$start"
  done <"$state/processes"
  return 0
}

# Sends signal $1 to the living processes of role $2 ('*' for any but the owner), and waits up to $3 tenths of a second.
end_processes() {
  local signal=$1 wanted=$2 patience=$3 role pid start waited=0 left=1
  while ((left > 0 && waited <= patience)); do
    left=0
    while read -r role pid start; do
      # shellcheck disable=SC2053 # a pattern is meant
      [[ -n $pid && $role != owner && $role == $wanted ]] || continue
      left=$((left + 1))
      ((waited > 0)) || kill "-$signal" "$pid" 2>/dev/null || true
    done <<<"$(living)"
    ((left == 0)) || sleep 0.1
    waited=$((waited + 1))
  done
  ((left == 0))
}

# Ends everything the lab has started and made. Safe at any stage, also half-way up.
end_lab() {
  state_exists || return 0
  end_processes TERM tsvs 100 || true
  end_processes TERM '*' 20 || end_processes KILL '*' 20 || true
  remove_network
  rm -rf "$state"
}
