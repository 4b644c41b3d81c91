#!/bin/sh
# Slurm's Epilog, run as root on each node after a job: returns when the limits of the job's GPUs are restored, so that
# the next job starts with them.
#
# A running agent restores the limits when the processes exit; this script waits until it has. Without an agent, it
# restores the limits of processes that have exited. A process that is alive, which is another job's, keeps its limit in
# either case. The script always exits with 0: see prolog.sh.
set -u

RHEOSTAT="${RHEOSTAT:-/opt/rheostat/bin/rheostat}"
PATIENCE_SECONDS="${RHEOSTAT_PATIENCE_SECONDS:-10}"

[ -n "${SLURM_JOB_GPUS:-}" ] || exit 0

# The job's GPUs, by index or UUID, that are not free although no living process holds them.
left_behind() {
    printf '%s\n' "$status" | while IFS="$(printf '\t')" read -r index uuid state limit holder; do
        case ",$SLURM_JOB_GPUS," in *",$index,"* | *",$uuid,"*) ;; *) continue ;; esac
        pid="${holder#process }"
        pid="${pid%% *}"
        if [ "$state" != free ] && { [ -z "$pid" ] || ! kill -0 "$pid" 2>/dev/null; }; then
            printf 'GPU %s is %s at %s. ' "$index" "$state" "$limit"
        fi
    done
}

tries=0
while :; do
    status="$(timeout 15 "$RHEOSTAT" agent status 2>&1)"
    case "$status" in
    *"No agent answers"*) left="$(timeout 30 "$RHEOSTAT" agent recover 2>&1)" && exit 0 ;;
    *" W"*) left="$(left_behind)" && [ -z "$left" ] && exit 0 ;;
    *) left="$status" ;;
    esac
    tries=$((tries + 1))
    [ "$tries" -lt "$PATIENCE_SECONDS" ] || break
    sleep 1
done
logger -t rheostat-epilog -- "job ${SLURM_JOB_ID:-?}: not every limit is restored: $left" 2>/dev/null ||
    printf 'rheostat-epilog: job %s: not every limit is restored: %s\n' "${SLURM_JOB_ID:-?}" "$left" >&2
exit 0
