#!/usr/bin/env bash
# Train as a slurm job:
#   [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=...] \
#       tools/slurm_train.sh [--requeue] PARTITION JOB_NAME CONFIG WORK_DIR [arguments of tools/train.py]
# With --requeue, slurm sends SIGUSR1 SIGNAL_S seconds (default: 120) before the time limit. The training saves a
# checkpoint, and the job goes to the end of the queue and resumes from it.
set -euo pipefail
requeue=
if [[ "${1:-}" == --requeue ]]; then
    requeue=1
    shift
fi
usage='usage: slurm_train.sh [--requeue] PARTITION JOB_NAME CONFIG WORK_DIR [arguments of train.py]'
partition=${1:?$usage}
job_name=${2:?$usage}
config=${3:?$usage}
work_dir=${4:?$usage}
gpus=${GPUS:-8}

train=("${PYTHON:-python}" -u "$(dirname "$0")/train.py" "$config" --work-dir "$work_dir" --launcher slurm "${@:5}")
if [[ -n "$requeue" ]]; then
    if [[ " ${*:5} " =~ \ --resume(=|\ [^-]) ]]; then
        echo 'error: --requeue resumes from the newest checkpoint of WORK_DIR each time; give --resume no file' >&2
        exit 1
    fi
    train+=(--resume)
    SRUN_ARGS="--signal=USR1@${SIGNAL_S:-120} ${SRUN_ARGS:-}"
fi
run() {
    # SRUN_ARGS is split into words on purpose, but node[1-3] in it is no pattern for files.
    set -f
    # shellcheck disable=SC2086
    srun -p "$partition" --job-name="$job_name" --gres=gpu:"${GPUS_PER_NODE:-8}" \
        --ntasks="$gpus" --ntasks-per-node="${GPUS_PER_NODE:-8}" --cpus-per-task="${CPUS_PER_TASK:-5}" \
        --kill-on-bad-exit=1 ${SRUN_ARGS:-} "${train[@]}"
}

while true; do
    status=0
    run || status=$?
    # 138 and 143 are those of a training that saved a checkpoint on SIGUSR1 or SIGTERM.
    if [[ -z "$requeue" || ! $status =~ ^(138|143)$ ]]; then
        exit "$status"
    elif [[ -n "${SLURM_JOB_ID:-}" ]]; then
        # The allocation is about to end: another srun in it would end with it. The batch script starts again.
        exec scontrol requeue "$SLURM_JOB_ID"
    fi
    # Outside of a job, each srun waits for an allocation of its own.
done
