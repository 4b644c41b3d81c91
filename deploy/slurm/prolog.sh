#!/bin/sh
# Slurm's Prolog, as root on each node before a job: says in the node's log when the job's GPUs cannot be limited, or
# still have a limit that a dead process left.
#
# It always exits with 0. Any other code drains the node and requeues the job, which is never worth it: training runs
# without the agent, too, and a GPU under a low limit computes right, only slower.
set -u

RHEOSTAT="${RHEOSTAT:-/opt/rheostat/bin/rheostat}"

[ -n "${SLURM_JOB_GPUS:-}" ] || exit 0

told="$(timeout 15 "$RHEOSTAT" agent status 2>&1)" && exit 0
# No agent: what the dead have left is put back here. With one, this is refused, and the agent goes on trying.
told="$told
$(timeout 30 "$RHEOSTAT" agent recover 2>&1)"
logger -t rheostat-prolog -- "job ${SLURM_JOB_ID:-?}: the agent is not ready: $told" 2>/dev/null ||
    printf 'rheostat-prolog: job %s: the agent is not ready: %s\n' "${SLURM_JOB_ID:-?}" "$told" >&2
exit 0
