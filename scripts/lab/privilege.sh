# Who may build the lab. Root builds it directly. Anybody else builds it inside a user namespace of his own, in which
# he is root; a process that stays there keeps the namespace for later commands. Sourced by lab.sh.

# Makes sure that command $1 can do its work, if need be by starting this script anew inside a user namespace.
become_able() {
  local command=$1
  [[ $(uname -s) == Linux ]] || die "network namespaces need Linux; 'tsvs demo' shows the same on any system"
  if [[ -n ${TSVS_LAB_INSIDE:-} ]]; then
    [[ $command == exec || $command == down ]] || prepare_inside
    return
  fi
  case $command in
    exec | down)
      if ! state_exists; then
        [[ $command == down ]] || die "no lab named '$lab' is up; 'scripts/lab.sh$lab_word up' builds it"
        return 0
      fi
      ((EUID == 0)) || reenter "$@"
      ;;
    *)
      "$project/scripts/setup.sh" "$needs" || exit
      check_tun
      if ((EUID == 0)); then
        check_root
      else
        enter_new "$@"
      fi
      ;;
  esac
}

check_tun() {
  local tun=/dev/net/tun
  [[ -e $tun ]] || die "$tun is missing: as root run 'modprobe tun', or start the container with --device $tun"
  (: <>$tun) 2>/dev/null || die "$tun cannot be opened: run this as root, or as root run 'chmod 0666 $tun'"
}

check_root() {
  local error
  error=$(unshare --net --mount true 2>&1) ||
    die "root here may not make network namespaces (${error#unshare: }): start the container with --privileged"
}

enter_new() {
  local error
  error=$(unshare --user --map-root-user --net --mount ip link set lo up 2>&1) ||
    die "this system refuses user namespaces (${error#unshare: }): run this as root, or allow them (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)"
  [[ $1 == terminal ]] && shift
  exec env TSVS_LAB_INSIDE=1 TSVS_LAB_STATE="$state" \
    unshare --user --map-root-user --net --mount bash "$project/scripts/lab.sh" "$lab_name" "$@"
}

# `ip netns` writes to /run/netns: inside, /run is a file system of our own, with the state directory kept visible.
prepare_inside() {
  if [[ $state != /run/* ]]; then
    mount -t tmpfs -o mode=755 run /run
    return
  fi
  local base=${state%/*}
  mount --rbind "$base" /mnt
  mount -t tmpfs -o mode=755 run /run
  mkdir -p "$base"
  mount --rbind /mnt "$base"
  umount --lazy /mnt
}

# Leaves a process in the namespaces just made, and notes it for `reenter`.
keep_namespaces() {
  [[ -n ${TSVS_LAB_INSIDE:-} ]] || return 0
  setsid sleep infinity </dev/null >/dev/null 2>&1 &
  remember holder $!
}

reenter() {
  local role pid start
  while read -r role pid start; do
    [[ $role == holder ]] || continue
    exec env TSVS_LAB_INSIDE=1 TSVS_LAB_STATE="$state" \
      nsenter --target "$pid" --user --net --mount --preserve-credentials --wd="$PWD" bash "$project/scripts/lab.sh" "$lab_name" "$@"
  done <<<"$(living)"
  [[ $1 == down ]] || die "the lab '$lab' has died; 'scripts/lab.sh$lab_word down' removes what is left"
}
