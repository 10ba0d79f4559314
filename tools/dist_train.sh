#!/usr/bin/env bash
# Train with several processes of one machine or more, on GPUs or CPUs:
#   tools/dist_train.sh CONFIG PROCESSES [arguments of tools/train.py]
# NNODES, NODE_RANK, MASTER_ADDR and PORT describe a run on several machines. With RDZV=HOST:PORT instead of the last
# three, machines find each other there in any order, and NNODES may be a range such as 1:4. MAX_RESTARTS=N starts the
# processes again after a failure, up to N times. See docs/distributed.md.
set -euo pipefail
config=${1:?usage: dist_train.sh CONFIG PROCESSES [arguments of train.py]}
processes=${2:?usage: dist_train.sh CONFIG PROCESSES [arguments of train.py]}

if [[ "${MAX_RESTARTS:-0}" != 0 && ! " ${*:3} " =~ \ --resume\ (-|$) ]]; then
    echo "error: MAX_RESTARTS=$MAX_RESTARTS needs --resume, without a file, so that each restart resumes from the newest" \
        'checkpoint' >&2
    exit 1
fi
if [[ -n "${RDZV:-}" ]]; then
    meeting=(--rdzv_backend=c10d --rdzv_endpoint="$RDZV")
elif [[ "${NNODES:-1}" == *:* ]]; then
    echo "error: NNODES=$NNODES needs RDZV=HOST:PORT, where the machines find each other" >&2
    exit 1
else
    meeting=(--node_rank="${NODE_RANK:-0}" --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}")
fi

export PET_MAX_RESTARTS=${MAX_RESTARTS:-0}
exec "${PYTHON:-python}" -m mmfasternet.engine.elastic \
    --nnodes="${NNODES:-1}" "${meeting[@]}" --nproc_per_node="$processes" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "${@:3}"
