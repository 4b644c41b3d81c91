"""Metrics of a node in this process."""

import http.client
import threading

from rheostat.agent.metrics import MetricsServer, exposition
from tests.agent.bench import Bench
from tests.nvml.fake import Call
from tests.waiting import PATIENCE_SECONDS, eventually


def test_each_gpu_has_its_limit_its_state_and_what_happened_to_it(bench: Bench) -> None:
    first, second = (gpu.uuid for gpu in bench.fake.gpus)
    lease = bench.lease()
    bench.node.set_power_limit(lease, 200_000)
    lines = exposition(bench.node).splitlines()
    assert f'rheostat_agent_power_limit_watts{{gpu="{first}"}} 200' in lines
    assert f'rheostat_agent_found_power_limit_watts{{gpu="{first}"}} 300' in lines
    assert f'rheostat_agent_gpu_state{{gpu="{first}",state="verified"}} 1' in lines
    assert f'rheostat_agent_gpu_state{{gpu="{first}",state="free"}} 0' in lines
    assert f'rheostat_agent_gpu_answers{{gpu="{first}"}} 1' in lines
    # Unknown, as nothing was changed there: left out, not zero.
    assert not any(line.startswith(f'rheostat_agent_found_power_limit_watts{{gpu="{second}"}}') for line in lines)
    bench.node.end(lease, "ends")
    lines = exposition(bench.node).splitlines()
    assert f'rheostat_agent_restores_total{{gpu="{first}"}} 1' in lines
    assert f'rheostat_agent_restore_failures_total{{gpu="{first}"}} 0' in lines


def test_a_foreign_change_is_counted(bench: Bench) -> None:
    bench.node.set_power_limit(bench.lease(), 200_000)
    bench.fake.gpus[0].limit_watts = 220
    count = f'rheostat_agent_foreign_changes_total{{gpu="{bench.fake.gpus[0].uuid}"}} 1'
    eventually(lambda: count in exposition(bench.node).splitlines())


def test_each_family_has_its_help_and_its_type_once(bench: Bench) -> None:
    lines = exposition(bench.node).splitlines()
    families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert families == [line.split()[2] for line in lines if line.startswith("# HELP")]
    assert len(set(families)) == len(families) == 7


def test_they_are_served_on_their_path_only_even_while_a_gpu_hangs(bench: Bench) -> None:
    bench.fake.gpus[0].hang(Call.GET_LIMIT)
    server = MetricsServer(0, bench.node)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        statuses = []
        for path in ("/metrics", "/other"):
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=PATIENCE_SECONDS)
            connection.request("GET", path)
            statuses.append(connection.getresponse().status)
            connection.close()
        assert statuses == [200, 404]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
