#!/bin/bash
# Compiles mmcv's own operators into the environment VENV of SET, which make_env.sh made; they replace torchvision's.
#
#   requirements/make_ops.sh onedl|openmmlab VENV        (CXX chooses the compiler)
#
# The wheel is kept for the next environment.
set -euo pipefail
shopt -s inherit_errexit

[ $# -eq 2 ] || { echo "usage: $0 onedl|openmmlab VENV" >&2; exit 1; }
set_name=$1 venv=$(realpath -m "$2")
cd "$(dirname "$0")/.."
. requirements/steps.sh

# torch 2.14's headers are C++20, and mmcv's setup.py says C++17; the later flag wins.
case $set_name in
onedl) installed=onedl-mmcv mmcv=onedl-mmcv std=c++20 ;;
openmmlab) installed=mmcv-lite mmcv=mmcv std=c++17 ;;
*) fail "unknown set '$set_name': onedl or openmmlab" ;;
esac
lock=requirements/$set_name.lock
version=$(sed -n "s/^$installed==\([^ ]*\).*/\1/p" "$lock")
ask() { "$venv/bin/python" -c "import sys, sysconfig, torch; print($1)"; }

check_prerequisites() {
    local cuda
    command -v "${CXX:-g++}" >/dev/null || fail "no C++ compiler ${CXX:-g++}: install g++, or name one with CXX=…"
    [ -e "$(ask 'sysconfig.get_path("include")')/Python.h" ] ||
        fail "Python.h is missing: install python$(ask '"%d.%d" % sys.version_info[:2]')-dev"
    [ "$device" = cpu ] || command -v nvcc >/dev/null || [ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ] ||
        fail "there is a GPU and no nvcc: install the CUDA toolkit $(ask torch.version.cuda), or stay with torchvision's operators"
}

build() {
    local work=$1
    # One chain: `set -e` doesn't reach into the left side of `||`.
    (
        export PATH=$venv/bin:$PATH MMCV_WITH_OPS=1 MAX_JOBS=${MAX_JOBS:-$(nproc)} &&
            export PCH_CXX=${CXX:-g++} PCH_FLAGS="-g0 -O2 -std=$std" CXX=$PWD/requirements/cxx_pch.sh &&
            pip download --no-build-isolation --no-binary :all: --no-deps --dest "$work" "$mmcv==$version" &&
            tar -xzf "$work"/*.tar.gz -C "$work" &&
            cd "$work"/*/ &&
            export PCH_HEADER=$PWD/mmcv/ops/csrc/common/pytorch_cpp_helper.hpp &&
            pip wheel --verbose --no-build-isolation --no-deps --wheel-dir "$work" .
    ) >>"$log" 2>&1
}

# Leaves in `cache` a wheel built now, unless it holds one already.
make_wheel() {
    local work
    mkdir -p "$cache"
    work=$(mktemp -d "$venv/mmcv.XXXXXX")
    step 'installing what compiles' pip install --constraint "$lock" ninja setuptools wheel packaging
    step "compiling the operators of $mmcv $version: 3 to 5 minutes on two cores" build "$work"
    wheel=$(basename "$work"/*.whl)
    mv "$work/$wheel" "$cache/$wheel.$$"
    mv "$cache/$wheel.$$" "$cache/$wheel"
    rm -r "$work"
}

"$venv/bin/python" -c 'import mmcv._ext' 2>/dev/null && exit
alone_in "$venv"
device=$(ask '"cuda" if torch.cuda.is_available() else "cpu"')
check_prerequisites
# Without a home, as for users that some containers make, the wheel lives as long as the environment.
cache=${XDG_CACHE_HOME:-${HOME:-$venv}/.cache}/mmfasternet/torch-$(ask torch.__version__)-$device-$(uname -m)
wheels="$cache/${mmcv//-/_}-$version-$(ask 'sys.implementation.cache_tag.replace("cpython-", "cp")')-*.whl"
compgen -G "$wheels" >/dev/null || make_wheel
# mmcv and mmcv-lite write to the same folder.
[ "$installed" = "$mmcv" ] || step "removing $installed" pip uninstall --yes "$installed"
# Two may fit, if the tag of the platform has changed in between: the last one by name.
wheel=$(compgen -G "$wheels" | tail -n 1)
step "installing $(basename "$wheel")" pip install --no-deps --force-reinstall "$wheel"
"$venv/bin/python" -c 'import torch, mmcv._ext' || fail "the operators that were compiled don't load"
