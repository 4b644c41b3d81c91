"""What the page for trainers says of surveys is what happens."""

import re
import subprocess
from pathlib import Path
from time import sleep
from typing import Any

from rheostat import Client, Gpu, JobSettings
from rheostat.schemas.power import SurveyRequest
from tests.sdk.server_process import ServerProcess

PAGE = (Path(__file__).parents[2] / "docs" / "trainers.md").read_text()
SETTINGS = JobSettings(batch_sizes=[64, 128, 256], default_batch_size=64, max_epochs=60, survey_seconds=3.0)
GPU = Gpu(model="V100", min_power_limit_watts=100, max_power_limit_watts=250)


def block(language: str, start: str) -> str:
    (found,) = [text for text in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if start in text]
    return str(found)


def test_the_trainer_with_a_survey_runs_as_it_stands(tmp_path: Path) -> None:
    built: list[int] = []

    def build(batch_size: int, learning_rate: float) -> tuple[None, list[int]]:
        built.append(batch_size)
        return None, [1, 2, 3]

    with ServerProcess(tmp_path) as server, Client(server.url) as client:
        program: dict[str, Any] = {
            "client": client,
            "settings": SETTINGS,
            "build": build,
            "train_one_step": lambda model, batch: sleep(0.02),
        }
        exec(block("python", "def steps_at"), program)
        assert built[0] == 64
        assert program["trial"].trial_id is not None


def test_the_curl_commands_survey_a_job(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server, Client(server.url) as client:
        client.register_job("nightly-finetune", SETTINGS.model_copy(update={"survey_seconds": 120.0}))
        script = block("sh", "/survey").replace("http://127.0.0.1:8420", server.url)
        run = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        assert '"survey":[{"batch_size":64,"power_limits_watts":[250,225,' in run.stdout
        (step,) = client.survey("nightly-finetune", SurveyRequest(gpu=GPU)).survey
        assert step.power_limits_watts[0] == 225
