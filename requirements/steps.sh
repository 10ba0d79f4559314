# What make_env.sh and make_ops.sh share: a line and a time for each step, and a log of everything.
# Sourced, with `venv` set.

log=$venv.log

say() { echo "make: $*" | tee -a "$log"; }
fail() { echo "make: error: $*" >&2; exit 1; }

# pip shows how its downloads go on a terminal, and only errors elsewhere; the log has the rest.
pip() {
    local options=(--disable-pip-version-check --log "$log")
    [ -t 1 ] || { options+=(-qq) && export PIP_PROGRESS_BAR=off; }
    "$venv/bin/python" -m pip "${options[@]}" "$@"
}

step() {
    local name=$1 start=$SECONDS
    shift
    say "$name …"
    "$@" || fail "$name failed; everything that was printed is in $log"
    say "$name: $((SECONDS - start)) s"
}

# Holds the lock of VENV as long as the script runs, so that two runs don't make it at once.
alone_in() {
    mkdir -p "$(dirname "$1")"
    command -v flock >/dev/null || return 0
    exec 9>"$1.lock"
    flock --nonblock 9 || { say "waiting for another run that makes $1"; flock 9; }
}
