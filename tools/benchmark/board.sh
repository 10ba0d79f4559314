#!/bin/bash
# Measures a detector's files on a board, such as a Raspberry Pi 5 with a 64-bit system, in a clone of this repository:
#
#   tools/benchmark/board.sh --data CONFIG detector.ncnn.param detector.pte detector.onnx …
#
# The arguments are those of tools/benchmark/artifact.py. Makes the environment VENV (.venv) if there is none, and
# installs the runtimes of the files that it lacks. The records go to work_dirs/board, unless --out-dir names another
# folder; at the end, it says whether the board was slowed down, and how the records join the page of another machine.
set -euo pipefail
venv=${VENV:-.venv}
root=$(realpath "$(dirname "$0")/../..")
python=$venv/bin/python

fail() { echo "error: $*" >&2; exit 1; }

[ $# -gt 0 ] || fail "name the files and the config of their data: $0 --data CONFIG FILE…"
[ -x "$python" ] || (cd "$root" && requirements/make_env.sh onedl "$(realpath -m "$venv")")

runtimes=()
for word in "$@"; do
    case $word in
    *.param) runtimes+=(ncnn) ;;
    *.pte) runtimes+=(executorch) ;;
    *.onnx) runtimes+=(onnxruntime openvino) ;;
    *.xml) runtimes+=(openvino) ;;
    esac
done
for runtime in "${runtimes[@]}"; do
    "$python" -c "import $runtime" 2>/dev/null ||
        "$python" -m pip install -q --constraint "$root/requirements/onedl.lock" "$runtime" || fail "cannot install $runtime"
done

# A governor that saves power changes the clock between runs.
governor=$(cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor 2>/dev/null || echo unknown)
case $governor in
performance | unknown) ;;
*) echo "the clock is governed by '$governor'; for steady figures: echo performance | sudo tee" \
    "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor" ;;
esac

out=work_dirs/board words=("$@")
for ((i = 0; i < $#; i++)); do
    [ "${words[i]}" != --out-dir ] || out=${words[i + 1]}
done
"$python" "$root/tools/benchmark/artifact.py" --out-dir "$out" "$@"

# Bits of what happened since the board was started: low voltage, a lower clock, heat.
if command -v vcgencmd >/dev/null; then
    throttled=$(vcgencmd get_throttled)
    [ "$throttled" = throttled=0x0 ] ||
        echo "the board was slowed down ($throttled): use a stronger power supply or a fan, restart it, and measure again" >&2
fi
cat <<TEXT
Copy $out/records.json to the machine with the page, and draw both there:
python tools/benchmark/artifact.py --report-only --records board/records.json
TEXT
