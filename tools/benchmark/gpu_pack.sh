#!/bin/bash
# Packs what a bare GPU machine lacks to run tools/benchmark/gpu.py, rehearses the run, and prints its two commands.
#
#   VENV=.venv tools/benchmark/gpu_pack.sh
#
# The machine has Python 3.12, torch with its Triton, torchvision, timm, ONNX Runtime, Matplotlib and OpenCV, and no
# OpenMMLab, compiler of extensions or network. .gpu holds the rest: OpenMMLab's Python code without compiled operators,
# and wheels. Send it with the checkout; REHEARSE=0 leaves the rehearsal out.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=${VENV:-.venv} site=.gpu/site
largest=60 # MiB that travel

fail() { echo "error: $*" >&2; exit 1; }

[ -x "$venv/bin/python" ] || fail "no environment in $venv: run 'make env', or name another with VENV="
[ -z "$(git status --porcelain)" ] || fail 'commit or remove what git status shows: records name the commit'
commit=$(git rev-parse --short=10 HEAD)
# Not in .gitignore, since only this checkout has it.
exclude=$(git rev-parse --git-path info/exclude)
mkdir -p "$(dirname "$exclude")"
grep -qsxF /.gpu/ "$exclude" || echo /.gpu/ >>"$exclude"
rm -rf .gpu
mkdir -p "$site"

pure='mmengine mmcv mmdet mmpretrain imgaug addict yapf yapf_third_party termcolor terminaltables modelindex ordered_set prettytable wcwidth platformdirs'
from=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
for name in $pure; do
    if [ -d "$from/$name" ]; then
        tar -C "$from" --exclude='*.so' --exclude=__pycache__ --exclude=.mim -cf - "$name" | tar -C "$site" -xf -
    fi
done
# mmengine asks for versions, so the names and versions of what is packed travel too.
for info in "$from"/{onedl_mm,mmengine,mmcv,mmdet,mmpretrain}*.dist-info; do
    if [ -f "$info/METADATA" ]; then
        mkdir "$site/$(basename "$info")"
        cp "$info/METADATA" "$site/$(basename "$info")/"
    fi
done

# Compiled for that machine's Python; a wheel is a zip file.
platforms=$(printf -- '--platform manylinux_2_%s_x86_64 ' 28 27 24 17)
for name in pycocotools shapely; do
    version=$("$venv/bin/python" -c "from importlib.metadata import version; print(version('$name'))")
    # shellcheck disable=SC2086
    "$venv/bin/pip" download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp $platforms \
        --platform manylinux2014_x86_64 -d .gpu/wheels "$name==$version"
done
for wheel in .gpu/wheels/*.whl; do "$venv/bin/python" -m zipfile -e "$wheel" "$site"; done
# The machine has a transformers that mmpretrain's multimodal models fail to import, which mmpretrain skips without
# pycocotools, as it knows it by its metadata.
rm -r .gpu/wheels "$site"/pycocotools-*.dist-info

mib=$((($(git ls-files -z | xargs -0 du -cb | tail -1 | cut -f1) + $(du -sb .gpu | cut -f1)) / 2 ** 20))
[ "$mib" -lt "$largest" ] || fail "the checkout and .gpu have $mib MiB, and at most $largest travel"
echo "packed: checkout and .gpu have $mib MiB"

if [ "${REHEARSE:-1}" != 0 ]; then
    PYTHONPATH=$site:$PWD "$venv/bin/python" tools/benchmark/gpu.py --device cpu --quick --out-dir .gpu/rehearsal
    rm -r .gpu/rehearsal
fi

# What the first command records is kept on the machine for the second, should OUT be emptied between them.
kept=/tmp/fasternet-gpu
command() {
    echo "mkdir -p $kept; cp -r $kept/. \$OUT; export PYTHONPATH=\$PWD/$site:\$PWD PYTHONUNBUFFERED=1" \
        "MMFASTERNET_COMMIT=$commit; python3 tools/benchmark/gpu.py --out-dir \$OUT --budget $1 --stages $2 2>&1" \
        "| tee \$OUT/$3; cp -r \$OUT/. $kept"
}
cat <<TEXT

Send the checkout with .gpu to the machine, and run there, with OUT a folder to fetch:

1. in at most 200 s:
$(command 170 'env peaks correct smoke' first.txt)

2. if nothing is wrong, on the same machine, in at most 560 s:
$(command 530 'tune latency comparison training detector operators demo others compile' second.txt)

Then draw the pages here, OUT being docs/results/gpu, its folder comparison docs/results/compare_gpu, and its folder
operators docs/results/gpu/operators:
$venv/bin/python tools/benchmark/gpu.py --report-only --out-dir docs/results/gpu
$venv/bin/python tools/paper/operators.py --report-only --out-dir docs/results/gpu/operators
$venv/bin/python tools/benchmark/compare.py --report-only --out-dir docs/results/compare_gpu --records docs/results/compare/records.json
TEXT
