#!/usr/bin/env bash
# Train with several processes of one machine or more, on GPUs or CPUs:
#   tools/dist_train.sh CONFIG PROCESSES [arguments of tools/train.py]
# NNODES, NODE_RANK, MASTER_ADDR and PORT describe a run on several machines.
set -euo pipefail
config=${1:?usage: dist_train.sh CONFIG PROCESSES [arguments of train.py]}
processes=${2:?usage: dist_train.sh CONFIG PROCESSES [arguments of train.py]}

exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    --nproc_per_node="$processes" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "${@:3}"
