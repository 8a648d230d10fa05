# The lab with a terminal: a shell in the client, and tsvs' log in sight. Sourced by lab.sh.

# tsvs writes JSON lines; people read them through the printer that is among the project's packages.
pretty=$project/node_modules/.bin/pino-pretty

stay() {
  say "a shell in $shell_host follows; try: $hint; 'exit' ends the lab"
  if command -v tmux >/dev/null; then
    stay_in_tmux
  else
    stay_in_shell
  fi
}

# Two panes on a tmux server of the lab's own; leaving the shell, or detaching, ends both.
stay_in_tmux() {
  local tmux=(env -u TMUX tmux -S "$state/tmux.sock" -f /dev/null)
  "${tmux[@]}" new-session -d -s lab -c "$PWD" \
    "ip netns exec $lab-$shell_host ${SHELL:-/bin/bash}; tmux -S '$state/tmux.sock' kill-server"
  remember tmux "$("${tmux[@]}" display-message -p '#{pid}')"
  "${tmux[@]}" split-window -d -v -l 40% "tail -n +1 -F '$state/tsvs.log' | '$pretty' --colorize"
  "${tmux[@]}" attach-session || true
  "${tmux[@]}" kill-server 2>/dev/null || true
}

# The log scrolls by above the prompt. Its printer ends with tail, at the end of its input.
stay_in_shell() {
  setsid tail -n +1 -f "$state/tsvs.log" > >(exec "$pretty" --colorize) 2>/dev/null &
  remember log $!
  at "$shell_host" "${SHELL:-/bin/bash}" || true
}
