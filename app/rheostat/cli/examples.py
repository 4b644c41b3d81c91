"""The examples and exit codes in each command's help. A test parses every example."""

from collections.abc import Mapping
from typing import NamedTuple


class Example(NamedTuple):
    """What one command line does, and the line as it is typed; it may go on over a backslash."""

    does: str
    command: str


_RUN = r"""rheostat run --job nightly --batch-sizes 32,64,128 \
  --default-batch-size 64 --max-epochs 60 \
  --target 'accuracy>=0.96' --metric-pattern 'val_acc={metric}' \
  -- python train.py --batch-size {batch_size}"""

EXAMPLES: Mapping[str, tuple[Example, ...]] = {
    "": (
        Example("See it work on a simulated GPU, in a minute", "rheostat demo"),
        Example("Measure what a training run costs today", "rheostat measure -- python train.py"),
        Example("Serve on this machine; then open http://127.0.0.1:8420", "rheostat serve"),
        Example("Train with the batch size and power limit of the lowest cost", _RUN),
        Example("See what was saved", "rheostat savings"),
    ),
    "demo": (
        Example("Twenty recurrences of a small job, then a table", "rheostat demo"),
        Example("The same, then the job's page in a browser", "rheostat demo --open"),
    ),
    "measure": (
        Example("Time and energy of one run", "rheostat measure -- python train.py"),
        Example("The same as JSON in a file", "rheostat measure --json --output cost.json -- python train.py"),
    ),
    "replay": (
        Example(
            "Replay recorded runs under the default policy",
            "rheostat replay --train summary_train.csv --power summary_power.csv",
        ),
        Example(
            "Compare with the published baseline, and keep the figures",
            "rheostat replay --train summary_train.csv --power summary_power.csv \\\n"
            "  --policy zeus --json figures.json",
        ),
    ),
    "run": (
        Example("Read the metric from the output", _RUN),
        Example(
            "A registered job; the metric from a file of JSON lines",
            "rheostat run --job nightly --metrics-file metrics.jsonl \\\n"
            "  -- python train.py --batch-size {batch_size}",
        ),
        Example(
            "One batch size, or one run: only the power limit is chosen",
            "rheostat run --power-only --job finetune --step-pattern 'step {step}' \\\n  -- python train.py",
        ),
    ),
    "spool": (
        Example("What waits for a server", "rheostat spool list"),
        Example("Send it now", "rheostat spool send"),
    ),
    "spool list": (Example("What waits for a server", "rheostat spool list"),),
    "spool send": (
        Example("Send what waits for RHEOSTAT_URL", "rheostat spool send"),
        Example(
            "The server has moved",
            "rheostat spool send --from http://old:8420 --to http://new:8420",
        ),
    ),
    "spool discard": (
        Example("Throw away what waits for a server that is gone", "rheostat spool discard --server http://old:8420"),
    ),
    "serve": (
        Example("On this machine alone, with SQLite", "rheostat serve"),
        Example(
            "For a team, once there is a token",
            "rheostat serve --host 0.0.0.0 --workers 4 \\\n  --database-url postgresql://rheostat@db/rheostat",
        ),
        Example("Behind a reverse proxy, under a prefix", "rheostat serve --root-path /rheostat"),
    ),
    "jobs": (
        Example("All jobs", "rheostat jobs list"),
        Example("One job, with estimates and savings", "rheostat jobs show nightly"),
        Example("Always train with batch size 64 from now on", "rheostat jobs pin nightly 64"),
    ),
    "jobs list": (
        Example("All jobs", "rheostat jobs list"),
        Example("Those of a namespace", "rheostat jobs list --namespace vision"),
    ),
    "jobs show": (Example("One job, with estimates and savings", "rheostat jobs show nightly"),),
    "jobs set": (
        Example("Minimise energy alone", "rheostat jobs set nightly eta_knob=1"),
        Example(
            "Another target, and more batch sizes",
            "rheostat jobs set nightly 'target=accuracy>=0.97' batch_sizes=32,64,128,256",
        ),
    ),
    "jobs delete": (Example("Delete it with all that was learned", "rheostat jobs delete nightly"),),
    "jobs pin": (
        Example("Always train with batch size 64", "rheostat jobs pin nightly 64"),
        Example(
            "Also under a power limit, with a reason",
            "rheostat jobs pin nightly 64 --power-limit 200 --reason 'release week'",
        ),
    ),
    "jobs unpin": (Example("Let the policy choose again", "rheostat jobs unpin nightly"),),
    "jobs pause": (Example("Try nothing new for now", "rheostat jobs pause nightly --reason 'release week'"),),
    "jobs resume": (Example("Explore again", "rheostat jobs resume nightly"),),
    "jobs force": (
        Example("Try batch size 128 once", "rheostat jobs force nightly 128"),
        Example("Withdraw that", "rheostat jobs force nightly --cancel"),
    ),
    "jobs import": (Example("Import past runs of one job", "rheostat jobs import runs.csv --job nightly"),),
    "jobs rebuild": (Example("Derive the policy's state again", "rheostat jobs rebuild nightly"),),
    "savings": (
        Example("A table of all jobs", "rheostat savings"),
        Example(
            "One job since a day, for a spreadsheet",
            "rheostat savings --job nightly --since 2026-01-01 --format csv",
        ),
    ),
    "export": (
        Example("All jobs, for a spreadsheet", "rheostat export jobs"),
        Example("The trials of a job as JSON", "rheostat export trials --job nightly --format json"),
    ),
    "doctor": (
        Example("Check this machine and its server", "rheostat doctor"),
        Example("Another server; as JSON, for a script", "rheostat doctor --server http://rheostat:8420 --format json"),
    ),
    "agent": (
        Example("On a GPU node, as root", "rheostat agent"),
        Example("What it sees and holds", "rheostat agent status"),
        Example("Try it without a GPU and without root", "rheostat agent run --simulate 2 --runtime-dir ./agent"),
    ),
    "agent run": (
        Example("On a GPU node, as root", "rheostat agent run"),
        Example("With metrics for Prometheus on loopback", "rheostat agent run --metrics-port 9421"),
        Example("Without a GPU and without root", "rheostat agent run --simulate 2 --runtime-dir ./agent"),
    ),
    "agent status": (Example("What the agent sees and holds", "rheostat agent status"),),
    "agent recover": (Example("After the agent was killed, as root", "rheostat agent recover"),),
    "agent restore": (Example("Restore every limit now, as root", "rheostat agent restore"),),
    "token": (
        Example("For trainers of a team", "rheostat token create vision-ci --namespace vision"),
        Example("All tokens, without their secrets", "rheostat token list"),
    ),
    "token create": (
        Example("For an operator", "rheostat token create ops --scope admin"),
        Example(
            "For trainers of a team, for 90 days",
            "rheostat token create vision-ci --namespace vision --expires-in-days 90",
        ),
        Example(
            "From a file of secrets",
            "rheostat token create ops --scope admin --from-file secrets/admin_token",
        ),
    ),
    "token generate": (Example("Into a file of secrets", "rheostat token generate > secrets/admin_token"),),
    "token list": (Example("All tokens, without their secrets", "rheostat token list"),),
    "token revoke": (Example("Refuse a token from now on", "rheostat token revoke 3f9c2a1b"),),
    "db": (
        Example("The version of the schema", "rheostat db status"),
        Example("A copy, while servers run", "rheostat db backup rheostat.backup"),
    ),
    "db upgrade": (
        Example(
            "Before a new version of the server, on PostgreSQL",
            "rheostat db upgrade --database-url postgresql://rheostat@db/rheostat",
        ),
    ),
    "db status": (Example("The version of the schema", "rheostat db status"),),
    "db backup": (Example("A copy, while servers run", "rheostat db backup rheostat.backup"),),
    "db restore": (Example("Put a copy back; stop the servers first", "rheostat db restore rheostat.backup"),),
    "db prune": (Example("Keep a year of reports", "rheostat db prune --keep-days 365"),),
    "audit": (
        Example("The latest fifty changes", "rheostat audit"),
        Example("More of them, of one namespace", "rheostat audit --namespace vision --limit 500"),
    ),
}
"""By the words that call a command; the empty ones are the program's."""

EXIT_CODES: Mapping[str, str] = {
    "": "0 done; 1 refused or failed, with the reason on standard error; 2 wrong usage. `rheostat run` has more.",
    "run": "the command's own (128 + n after signal n), except 0: the target was reached; 124: it was not, as the run "
    "costs too much, its epochs are used up, or the command ended with 0 before; without a target 0: all epochs were "
    "run; 125: nothing was run, an option or a setting is invalid; "
    "126, 127: the command is not executable, or not found.",
    "measure": "the command's own, except 125: nothing was run; 126, 127: it is not executable, or not found.",
    "spool send": "0 all was sent; 1 some of that server's still wait, with the reason on standard error.",
    "agent run": "0 stopped by a signal; 1 it could not start; 75 the driver was replaced, start it again.",
    "agent status": "0 an agent is ready; 1 none answers, or it has problems, which are listed.",
    "agent recover": "0 nothing is left to restore; 1 a limit could not be restored, or the ledger not read.",
    "doctor": "0 no problem, at most warnings; 1 a problem.",
    "db status": "0 the schema is what this version needs; 1 it is not.",
    "db prune": "0 done; 130 interrupted, run it again to go on.",
}
"""Only where a command has codes of its own, or one means more than done and failed."""
