#!/bin/sh
# A whole run by curl: register a job, ask what to train with, report evaluations until the answer is "stop", and see
# what was saved.
#
#     rheostat serve &       # once, in another terminal
#     sh examples/curl.sh    # once for each run; RHEOSTAT_URL and RHEOSTAT_TOKEN count as for every client
#
# It prints what it trains with and why, the answer to each evaluation, and the job's savings. It needs curl alone. The
# training is made up: put your own in place of `train_one_epoch`. Without a server it says so in a line, and trains with
# the default.
set -eu

URL="${RHEOSTAT_URL:-http://127.0.0.1:8420}"
JOB="$URL/v1/jobs/curl-example"
GPU='{"model": "V100", "min_power_limit_watts": 100, "max_power_limit_watts": 250}'
DEFAULT_BATCH_SIZE=64
MAX_EPOCHS=5

# call METHOD URL [BODY] [HEADER]: prints the answer; an error goes to the error output, and the call fails.
call() {
    answer=$(curl --silent --request "$1" "$2" --write-out '\n%{http_code}' \
        --header 'Content-Type: application/json' ${RHEOSTAT_TOKEN:+--header "Authorization: Bearer $RHEOSTAT_TOKEN"} \
        ${3:+--data "$3"} ${4:+--header "$4"}) ||
        { echo "No server answers at $URL. Start it by: rheostat serve" >&2 && return 1; }
    body=${answer%
*}
    case "${answer##*
}" in
        2??) printf '%s\n' "$body" ;;
        *) echo "$1 $2: $body" >&2 && return 1 ;;
    esac
}

# field NAME: prints one field of the JSON on standard input, a text or a number.
field() {
    sed -n -e "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" -e "s/.*\"$1\":\([0-9][0-9.]*\).*/\1/p"
}

# Registering again with the same settings changes nothing. Each run has a key of its own; a run that is started again
# with its key goes on as the same trial.
begin_trial() {
    call PUT "$JOB" "{
        \"batch_sizes\": [32, 64, 128, 256], \"default_batch_size\": $DEFAULT_BATCH_SIZE, \"max_epochs\": $MAX_EPOCHS,
        \"target\": {\"metric\": \"accuracy\", \"value\": 0.9, \"direction\": \"maximize\"}}" >/dev/null &&
        call POST "$JOB/predict" "{\"gpu\": $GPU}" "Idempotency-Key: run-$(date +%s)-$$"
}

# train_one_epoch BATCH_SIZE EPOCH: prints the accuracy after the epoch.
train_one_epoch() {
    sleep 1
    echo "0.$((60 + 10 * ($2 < 3 ? $2 : 3)))"
}

if trial=$(begin_trial); then
    trial_id=$(echo "$trial" | field trial_id)
    batch_size=$(echo "$trial" | field batch_size)
    echo "batch size $batch_size: $(echo "$trial" | field reason)"
else
    trial_id='' batch_size=$DEFAULT_BATCH_SIZE
    echo "batch size $batch_size: the default, since the server gave no other"
fi

epoch=0 action=continue begin=$(date +%s)
while [ "$action" = continue ] && [ "$epoch" -lt "$MAX_EPOCHS" ]; do
    epoch=$((epoch + 1))
    accuracy=$(train_one_epoch "$batch_size" "$epoch")
    if [ -n "$trial_id" ]; then
        # Totals since the run began. Energy is null where nothing measures it.
        report="{\"epoch\": $epoch, \"metric\": $accuracy, \"energy_joules\": null,
            \"time_seconds\": $(($(date +%s) - begin))}"
        # A report that gets lost does not end the training.
        if answer=$(call POST "$URL/v1/trials/$trial_id/observe" "$report"); then
            action=$(echo "$answer" | field action)
        fi
    fi
    echo "epoch $epoch: accuracy $accuracy: $action"
done

if [ -n "$trial_id" ]; then
    call GET "$JOB/savings" || true # on a server with tokens, one that may read is needed
fi
