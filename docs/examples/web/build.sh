#!/bin/bash
# Put the page, what it loads and a detector into a folder that any web server can serve; it needs npm.
#
#   docs/examples/web/build.sh DETECTOR.onnx FOLDER
#
# package-lock.json has the checksum of every package, so that npm installs those that were tested, or fails.
set -euo pipefail

[ $# -eq 2 ] || { echo "usage: $0 DETECTOR.onnx FOLDER" >&2; exit 2; }
[ -f "$1" ] || { echo "error: $1 does not exist or is no file; export a detector by tools/export.py" >&2; exit 1; }
command -v npm >/dev/null || { echo "error: npm is missing; it comes with Node.js" >&2; exit 1; }
here=$(dirname "$0")
packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
cp "$here"/package*.json "$packages"
npm ci --prefix "$packages" --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null

mkdir -p "$2"
runtime=$packages/node_modules/onnxruntime-web/dist
cp "$here/index.html" "$here/detector.js" "$runtime"/ort.wasm.min.mjs "$runtime"/ort-wasm-simd-threaded.{mjs,wasm} "$2"
cp "$packages/node_modules/pbf/index.js" "$2/pbf.js"
cp "$1" "$2/detector.onnx"
