#!/usr/bin/env bash
# Test with several processes of one machine or more, on GPUs or CPUs:
#   tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [arguments of tools/test.py]
# NNODES, NODE_RANK, MASTER_ADDR and PORT describe a run on several machines.
set -euo pipefail
config=${1:?usage: dist_test.sh CONFIG CHECKPOINT PROCESSES [arguments of test.py]}
checkpoint=${2:?usage: dist_test.sh CONFIG CHECKPOINT PROCESSES [arguments of test.py]}
processes=${3:?usage: dist_test.sh CONFIG CHECKPOINT PROCESSES [arguments of test.py]}

exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    --nproc_per_node="$processes" \
    "$(dirname "$0")/test.py" "$config" "$checkpoint" --launcher pytorch "${@:4}"
