#!/bin/bash
# Makes the virtual environment VENV of the tested packages SET, or leaves it alone if it stands and fits the pins.
#
#   requirements/make_env.sh onedl|openmmlab VENV        (PYTHON and CXX choose the interpreter and the compiler)
#
# SET.txt names what the set is about; SET.lock fixes the version of every package in it. To renew a lock: empty it, run
# this, and write to it what `VENV/bin/pip list --format=freeze --exclude-editable --exclude pip` prints.
# No wheel of mmcv fits Python 3.11, so its ops are compiled here, once: the wheel is kept for the next environment.
set -euo pipefail
shopt -s inherit_errexit

say() { echo "make_env: $*"; }
fail() { echo "make_env: error: $*" >&2; exit 1; }

[ $# -eq 2 ] || fail "usage: $0 onedl|openmmlab VENV"
set_name=$1
venv=$(realpath -m "$2")
cd "$(dirname "$0")/.."

# torch 2.14's headers are C++20, and mmcv's setup.py says C++17; the later flag wins.
case $set_name in
onedl) mmcv=onedl-mmcv std=c++20 ;;
openmmlab) mmcv=mmcv std=c++17 ;;
*) fail "unknown set '$set_name': onedl or openmmlab" ;;
esac
pins=requirements/$set_name.txt
lock=requirements/$set_name.lock

# Both are written last, so that half an environment is never taken for a whole one.
packages_stamp=$venv/mmfasternet-packages
project_stamp=$venv/mmfasternet-project
hash_of() { cat "$@" | sha256sum | cut -c1-16; }
packages="Python 3.11, $(hash_of "$pins" "$lock" requirements/{compare,export,tests,lint,docs}.txt requirements/make_env.sh)"
project="$PWD, $(hash_of setup.py mmfasternet/version.py)"

has_packages() { [ "$(cat "$packages_stamp" 2>/dev/null)" = "$packages" ] && "$venv/bin/python" -c '' 2>/dev/null; }
has_project() { [ "$(cat "$project_stamp" 2>/dev/null)" = "$project" ]; }
pin() { sed -n "s/^$1==//p" "$pins"; }
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
# pip shows how its downloads go on a terminal, and only errors in a log.
[ -t 1 ] && quiet='' || quiet=-qq
# Nothing is built in isolation: setup.py of mmcv needs the torch of this environment, and the lock covers the rest.
install() { pip install $quiet --no-build-isolation --constraint "$pins" --constraint "$lock" "$@"; }

check_prerequisites() {
    [ ! -e "$venv" ] || [ -e "$packages_stamp" ] || [ -z "$(ls -A "$venv")" ] ||
        fail "$venv was not made by this script: name another VENV, or remove it"
    command -v flock >/dev/null || fail "flock is missing (package util-linux); only Linux is supported"
    [ -z "${PYTHON:-}" ] || command -v "$PYTHON" >/dev/null || fail "PYTHON=$PYTHON is not there"
    python=${PYTHON:-$(command -v python3.11 || command -v python3 || true)}
    [ -n "$python" ] || fail "Python 3.11 is missing: install it, or name it with PYTHON=/path/to/python3.11"
    local found
    found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || fail "$python doesn't run"
    [ "$found" = 3.11 ] || fail "$python is Python $found and 3.11 is needed: name one with PYTHON=/path/to/python3.11"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || fail "$python has no venv: install python3.11-venv"
    [ -e "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] ||
        fail "Python.h of $python is missing: install python3.11-dev"
    command -v "${CXX:-g++}" >/dev/null || fail "no C++ compiler ${CXX:-g++}: install g++, or name one with CXX=…"
}

# Prints the path of a wheel of mmcv with compiled ops: one that pip finds, one built before, or one built now.
mmcv_wheel() {
    local work version device cache wheel
    version=$(pin "$mmcv")
    work=$venv/mmcv
    mkdir "$work"
    if pip download --quiet --only-binary :all: --no-deps --dest "$work" "$mmcv==$version" 2>/dev/null; then
        echo "$work"/*.whl
        return
    fi
    device=$("$venv/bin/python" -c 'import torch; print("cuda" if torch.cuda.is_available() else "cpu")')
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/mmfasternet/torch-$(pin torch)-$device-$(uname -m)
    wheel=$(compgen -G "$cache/${mmcv//-/_}-$version-cp311-*.whl" || true)
    if [ -z "$wheel" ]; then
        build_mmcv "$version" "$work"
        mkdir -p "$cache"
        wheel=$(basename "$work"/*.whl)
        cp "$work/$wheel" "$cache/$wheel.$$"
        mv "$cache/$wheel.$$" "$cache/$wheel"
        wheel=$cache/$wheel
    fi
    echo "$wheel"
}

build_mmcv() {
    local version=$1 work=$2 log=$venv/mmcv-build.log
    say "compiling the ops of $mmcv $version: 3 to 5 minutes on two cores; log in $log" >&2
    # One chain: `set -e` doesn't reach into the left side of `||`.
    (
        export PATH=$venv/bin:$PATH MMCV_WITH_OPS=1 MAX_JOBS=${MAX_JOBS:-$(nproc)} &&
            export PCH_CXX=${CXX:-g++} PCH_FLAGS="-g0 -O2 -std=$std" CXX=$PWD/requirements/cxx_pch.sh &&
            pip download --no-build-isolation --no-binary :all: --no-deps --dest "$work" "$mmcv==$version" &&
            tar -xzf "$work"/*.tar.gz -C "$work" &&
            cd "$work"/*/ &&
            export PCH_HEADER=$PWD/mmcv/ops/csrc/common/pytorch_cpp_helper.hpp &&
            pip wheel --verbose --no-build-isolation --no-deps --wheel-dir "$work" .
    ) >"$log" 2>&1 || { tail -n 30 "$log" >&2; fail "the ops of $mmcv did not compile; the whole log is $log"; }
}

make_packages() {
    if [ -e "$venv" ]; then
        say "making $venv anew: it is unfinished, or made of other pins"
        rm -rf "$venv.old"
        mv "$venv" "$venv.old"
        rm -rf "$venv.old"
    fi
    mkdir -p "$venv"
    echo unfinished >"$packages_stamp"
    "$python" -m venv "$venv"
    say "installing torch $(pin torch), some 3 GB to download: 1 to 2 minutes when it is at hand"
    install torch torchvision numpy packaging ninja setuptools wheel
    local wheel
    wheel=$(mmcv_wheel)
    say "installing the rest of the set: 1 to 2 minutes"
    install "$wheel" -e ".[$set_name,compare,export,tests]" -r requirements/lint.txt -r requirements/docs.txt
    # opencv-python and its headless twin write the same files; the twin's also import where there is no libGL.
    install --force-reinstall --no-deps "$(pip freeze | sed -n 's/^opencv-python==/opencv-python-headless==/p')"
    rm -r "$venv/mmcv"
    "$venv/bin/python" -c 'import mmcv.ops, mmdet, mmpretrain, mmseg' || fail "the packages in $venv don't import"
    echo "$project" >"$project_stamp"
    echo "$packages" >"$packages_stamp"
    say "$venv stands"
}

has_packages && has_project && exit
check_prerequisites
mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock --nonblock 9 || { say "waiting for another run that makes $venv"; flock 9; }
has_packages || make_packages
if ! has_project; then
    say "linking $PWD into $venv"
    install --no-deps --editable .
    echo "$project" >"$project_stamp"
fi
