"""Forks agents and trainers from a process that has imported everything, so that a test can start and kill hundreds.

For each line of JSON that it reads, `{"role": ..., "environment": {...}, ...}`, it writes the process id.
"""

import http.client
import json
import logging
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from rheostat.agent.daemon import AgentSettings, ledger_in, run
from rheostat.agent.nvml import NvmlDriver
from rheostat.agent.recover import recover
from rheostat.agent.site import Site
from rheostat.agent.worker import Timing
from rheostat.errors import RheostatError
from tests.waiting import PATIENCE_SECONDS


def agent(order: dict[str, Any]) -> int:
    site = Site.model_validate(order["site"])
    timing = Timing(check_seconds=0.1, missing_seconds=0.1)
    return run(NvmlDriver(), AgentSettings(Path(order["directory"]), site, own_group=True, timing=timing))


def recovery(order: dict[str, Any]) -> int:
    site = Site.model_validate(order["site"])
    ledger = ledger_in(Path(order["directory"]))
    return len(recover(NvmlDriver(), ledger, site, keep_alive=False, wait_seconds=PATIENCE_SECONDS))


def trainer(order: dict[str, Any]) -> int:
    """Lease, set one limit after another, and end the lease; continue training without an agent when it fails."""
    try:
        connection = _connect(order["socket"])
        lease = _ask(connection, "POST", "/v1/leases", {"gpus": order["gpus"]})
        for watts in order["limits_watts"]:
            target = f"/v1/leases/{lease['lease_id']}/power-limit"
            _ask(connection, "PUT", target, {"power_limit_watts": watts})
        time.sleep(order["train_seconds"])
        _ask(connection, "DELETE", f"/v1/leases/{lease['lease_id']}")
    except KeyError:
        return 1  # the agent refused
    except (OSError, http.client.HTTPException, ValueError) as error:
        print("trainer:", repr(error), file=sys.stderr)
        time.sleep(30)
    return 0


def _connect(path: str) -> http.client.HTTPConnection:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        connection = http.client.HTTPConnection("agent", timeout=PATIENCE_SECONDS)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(30)
        try:
            connection.sock.connect(path)
        except OSError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.005)
        else:
            return connection


def _ask(connection: http.client.HTTPConnection, method: str, target: str, body: object = None) -> Any:
    connection.request(method, target, None if body is None else json.dumps(body))
    return json.loads(connection.getresponse().read() or "{}")


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    roles = {"agent": agent, "trainer": trainer, "recovery": recovery}
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.environ.update(order["environment"])
                logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {order['role']} %(message)s")
                code = roles[order["role"]](order)
            except RheostatError as error:
                print(order["role"], error, file=sys.stderr)
            except Exception:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
