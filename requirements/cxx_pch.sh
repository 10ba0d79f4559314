#!/bin/sh
# A C++ compiler for mmcv's build that precompiles the header all of its ops include.
#
# The header costs 15 s a file, and there are 77 files. The first call precompiles it with the very flags of that
# call: GCC silently passes over a precompiled header made with any other.
# Set as CXX by make_env.sh, with PCH_CXX the real compiler, PCH_HEADER the header's absolute path and PCH_FLAGS
# what to put behind setup.py's own flags.
set -eu

case "$*" in
*" -c "*.cpp*) ;;
*) exec $PCH_CXX "$@" ;;
esac

precompile() {
    # The call's flags without its source, its output and its dependency file.
    drop=
    for word in "$@"; do
        shift
        case "$drop$word" in
        drop*) drop= ;;
        -o | -MF) drop=drop ;;
        -c | -MMD | *.cpp) ;;
        *) set -- "$@" "$word" ;;
        esac
    done
    $PCH_CXX "$@" $PCH_FLAGS -x c++-header "$PCH_HEADER" -o "$PCH_HEADER.part"
    mv "$PCH_HEADER.part" "$PCH_HEADER.gch"
}

# Ninja starts several calls at once; one precompiles, the others wait for it.
exec 9>"$PCH_HEADER.lock"
flock 9
[ -e "$PCH_HEADER.gch" ] || precompile "$@"
exec 9>&-
exec $PCH_CXX "$@" $PCH_FLAGS -include "$PCH_HEADER" -Winvalid-pch
