#!/bin/sh
# Slurm's Prolog, run as root on each node before a job: logs when the job's GPUs cannot be limited, or still have the
# limit of a process that has exited.
#
# It always exits with 0. Any other code drains the node and requeues the job, which is never worth it: training also
# runs without the agent, and a GPU with a low limit computes correctly, only slower.
set -u

RHEOSTAT="${RHEOSTAT:-/opt/rheostat/bin/rheostat}"

[ -n "${SLURM_JOB_GPUS:-}" ] || exit 0

output="$(timeout 15 "$RHEOSTAT" agent status 2>&1)" && exit 0
# Without an agent this restores the limits of processes that have exited; a running agent refuses it and retries itself.
output="$output
$(timeout 30 "$RHEOSTAT" agent recover 2>&1)"
logger -t rheostat-prolog -- "job ${SLURM_JOB_ID:-?}: the agent is not ready: $output" 2>/dev/null ||
    printf 'rheostat-prolog: job %s: the agent is not ready: %s\n' "${SLURM_JOB_ID:-?}" "$output" >&2
exit 0
