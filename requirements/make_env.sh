#!/bin/bash
# Makes the virtual environment VENV of the tested packages SET with EXTRAs, or leaves it alone if it has them.
#
#   requirements/make_env.sh onedl|openmmlab VENV [tests|compare|export|lint|docs …]
#
# PYTHON chooses the interpreter. Everything is written to VENV.log. Nothing is compiled; make_ops.sh does that.
# SET.txt names what the set is about; SET.lock fixes the version of every package, and its first lines are the command
# (of the package uv) that renews it.
set -euo pipefail
shopt -s inherit_errexit

[ $# -ge 2 ] || { echo "usage: $0 onedl|openmmlab VENV [EXTRA…]" >&2; exit 1; }
set_name=$1 venv=$(realpath -m "$2")
shift 2
cd "$(dirname "$0")/.."
. requirements/steps.sh

# The best tested Python comes first. The sizes of torch's builds are what pip downloads, and what lies on the disk then.
case $set_name in
onedl) pythons='3.11 3.12 3.13 3.10' cuda_size='3.3 GB to download, 5.5 GB on disk' ;;
openmmlab) pythons='3.11 3.10' cuda_size='2.5 GB to download, 4.7 GB on disk' ;;
*) fail "unknown set '$set_name': onedl or openmmlab" ;;
esac
lock=requirements/$set_name.lock
cpu_wheels=https://download.pytorch.org/whl/cpu

# A line per part that the environment has, written when the part is complete.
stamp=$venv/mmfasternet-packages
part_of() { echo "$1 $(cat "${@:2}" | sha256sum | cut -c1-16)"; }
packages=$(part_of "$set_name" "requirements/$set_name.txt" "$lock" requirements/make_env.sh)
project=$(part_of "$PWD" setup.py mmfasternet/version.py)
has() { grep -qxF "$1" "$stamp" 2>/dev/null; }
add() { echo "$1" >>"$stamp"; }

# What venv, pip and the packages put into it; and make_ops.sh, if it was killed.
parts_of_venv='bin|include|lib|lib64|share|etc|man|src|doc|pyvenv\.cfg|\.gitignore|\.cache|\.lock|mmfasternet-packages|mmcv\..*'

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }
has_packages() { has "$packages" && [ -n "$(version_of "$venv/bin/python")" ] && has_chosen_python; }
has_chosen_python() { [ -z "${PYTHON:-}" ] || [ "$(version_of "$PYTHON")" = "$(version_of "$venv/bin/python")" ]; }
# Python compiles what is imported when it is imported: not all of torch.
install() { pip install --no-compile --constraint "$lock" "$@"; }

choose_python() {
    local name names=("${PYTHON:-}") found
    [ -n "${PYTHON:-}" ] || names=($(printf 'python%s ' $pythons) python3)
    for name in "${names[@]}"; do
        found=$(version_of "$name") || continue
        case " $pythons " in *" $found "*) python=$name && break ;; esac
    done
    [ -n "${python:-}" ] || fail "${PYTHON:+PYTHON=$PYTHON is no Python that runs and fits. }The set $set_name needs Python" \
        "${pythons// /, }: install one, or name it with PYTHON=/path/to/python3.11"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || fail "$python has no venv: install the package python$found-venv"
}

has_gpu() { nvidia-smi -L 2>/dev/null | grep -q GPU; }

# Without a GPU, the build without CUDA, a tenth in size: if its index answers within seconds and has one for this Python.
choose_torch() {
    local version wheel
    version=$(sed -n 's/^torch==\([^ ]*\).*/\1/p' "$lock")
    wheel="torch-$version%2Bcpu-cp$(version_of "$python" | tr -d .)-"
    if has_gpu; then
        say "there is a GPU: torch $version with CUDA ($cuda_size)"
        command -v nvcc >/dev/null ||
            say "no nvcc, and none is needed: RoIAlign and NMS come from torchvision; only 'make ops' would need it"
    elif timeout 8 "$python" - "$cpu_wheels/torch/" "$wheel" <<'END' 2>/dev/null; then
import sys, urllib.request
sys.exit(sys.argv[2] not in urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())
END
        say "no GPU: torch $version without CUDA (about 0.2 GB to download)"
        torch_from=(--find-links "$cpu_wheels/torch/" --find-links "$cpu_wheels/torchvision/")
    else
        say "no GPU, but the index of torch without CUDA can't be reached: torch $version with CUDA ($cuda_size)"
    fi
}

make_packages() {
    if [ -e "$venv" ]; then
        [ -e "$stamp" ] || [ -z "$(ls -A "$venv")" ] ||
            fail "$venv was not made by this script: name another VENV, or remove it"
        # Nothing of the user's own goes with it.
        local others
        others=$(ls -A "$venv" | grep -vxE "$parts_of_venv" | tr '\n' ' ' || true)
        [ -z "$others" ] || fail "$venv is out of date, and has files of yours (${others% }): move them elsewhere"
        step 'removing the old environment, whose pins or Python differ' rm -rf "$venv"
    fi
    local torch_from=()
    choose_torch
    mkdir -p "$venv"
    add unfinished
    step "making $venv with Python $(version_of "$python")" "$python" -m venv "$venv"
    step 'installing pip and what builds packages' install pip setuptools wheel click
    # Not isolated: five packages build pure-Python wheels, and each would download setuptools anew.
    step 'installing torch and the set (another 0.3 GB): two minutes or so' \
        install --no-build-isolation ${torch_from[@]+"${torch_from[@]}"} -e ".[$set_name]"
    # opencv-python and its headless twin write the same files; the twin's also import where there is no libGL.
    step 'replacing OpenCV by its build without windows' install --force-reinstall --no-deps \
        "$(sed -n 's/^\(opencv-python\)==\([^ ]*\).*/\1-headless==\2/p' "$lock")"
    "$venv/bin/python" -c 'import mmcv, mmdet, mmpretrain, mmseg' || fail "the packages in $venv don't import"
    add "$packages"
    add "$project"
}

add_extras() {
    local extra part missing=() files=() parts=()
    for extra in "$@"; do
        part=$(part_of "$extra" "requirements/$extra.txt")
        has "$part" || missing+=("$extra") files+=(-r "requirements/$extra.txt") parts+=("$part")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    step "installing what is needed for: ${missing[*]}" install --no-build-isolation "${files[@]}"
    for part in "${parts[@]}"; do add "$part"; done
}

# Many containers set PYTHONDONTWRITEBYTECODE: each start of a tool would compile all that it imports, for six seconds.
compile_packages() {
    [ -z "${PYTHONDONTWRITEBYTECODE:-}" ] || step 'compiling the packages, which Python is told not to do' compile_all
}

# Files for a newer Python don't compile.
compile_all() { "$venv/bin/python" -m compileall -qq -j 0 "$venv/lib" || true; }

is_complete() {
    local extra
    has_packages && has "$project" || return
    for extra in "$@"; do has "$(part_of "$extra" "requirements/$extra.txt")" || return; done
}

for extra in "$@"; do [ -e "requirements/$extra.txt" ] || fail "unknown extra '$extra'"; done
is_complete "$@" && exit
choose_python
alone_in "$venv"
start=$SECONDS
has_packages || make_packages
add_extras "$@"
if ! has "$project"; then
    step "linking $PWD" install --no-build-isolation --no-deps --editable .
    sed -i "/^${PWD//\//\\/} /d" "$stamp"
    add "$project"
fi
compile_packages
say "$venv stands after $((SECONDS - start)) s; what pip wrote is in $log"
