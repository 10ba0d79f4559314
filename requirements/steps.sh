# What make_env.sh and make_ops.sh share: a line and a time for each step, and a log of everything.
# Sourced, with `venv` set.

log=$venv.log

say() { echo "make: $*" | tee -a "$log"; }
fail() { echo "make: error: $*" >&2; exit 1; }

# On a terminal, pip shows how its downloads go and the log has what it did; elsewhere, all goes to the log.
pip() {
    local pip=("$venv/bin/python" -m pip --disable-pip-version-check)
    if [ -t 1 ]; then "${pip[@]}" --log "$log" "$@"; else "${pip[@]}" "$@" >>"$log" 2>&1; fi
}

step() {
    local name=$1 start=$SECONDS
    shift
    say "$name …"
    "$@" || { tail -n 20 "$log" >&2 && fail "$name failed; the whole log is $log"; }
    say "$name: $((SECONDS - start)) s"
}

# Holds the lock of VENV as long as the script runs, so that two runs don't make it at once.
alone_in() {
    mkdir -p "$(dirname "$1")"
    command -v flock >/dev/null || return 0
    exec 9>"$1.lock"
    flock --nonblock 9 || { say "waiting for another run that makes $1"; flock 9; }
}
