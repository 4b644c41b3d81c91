"""What is in the wheel, and that a trainer can use it without the server's packages."""

import os
import subprocess
import sys
from email.message import Message
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parent.parent

SERVER_SIDE = (
    "alembic",
    "fastapi",
    "fastapi_offline",
    "jinja2",
    "numpy",
    "platformdirs",
    "plotly",
    "psycopg",
    "pydantic_settings",
    "pynvml",
    "sklearn",
    "sqlalchemy",
    "starlette",
    "structlog",
    "uvicorn",
)

BLOCKER = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {SERVER_SIDE!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    directory = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path) -> Path:
    """A directory with the wheel's content and nothing else."""
    directory = wheel.parent / "installed"
    with ZipFile(wheel) as archive:
        archive.extractall(directory)
    return directory


@pytest.fixture(scope="session")
def names(wheel: Path) -> set[str]:
    """The files in the wheel."""
    with ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


@pytest.fixture(scope="session")
def metadata(installed: Path) -> Message:
    """The wheel's METADATA."""
    (path,) = installed.glob("*.dist-info/METADATA")
    return Parser().parsestr(path.read_text())


def run(installed: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=installed,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_it_holds_the_package_and_nothing_else(names: set[str]) -> None:
    (metadata_directory,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
    assert {name.partition("/")[0] for name in names} == {"rheostat", metadata_directory}
    assert not [name for name in names if "test" in name.lower()]


def test_every_module_is_in_it(names: set[str]) -> None:
    modules = {str(path.relative_to(ROOT / "app")) for path in (ROOT / "app").rglob("*.py")}
    assert modules <= names
    assert "rheostat/py.typed" in names


def test_the_pages_are_in_it(names: set[str]) -> None:
    dashboard = ROOT / "app" / "rheostat" / "dashboard"
    pages = {str(path.relative_to(ROOT / "app")) for path in dashboard.rglob("*.*") if path.suffix != ".pyc"}
    assert {Path(page).suffix for page in pages} == {".py", ".html", ".css", ".js", ".svg"}
    assert pages <= names


def test_the_migrations_are_in_it(names: set[str]) -> None:
    migrations = {str(path.relative_to(ROOT / "migrations")) for path in (ROOT / "migrations").rglob("*.py")}
    assert len(migrations) > 1
    assert {f"rheostat/_migrations/{path}" for path in migrations} <= names


def test_the_licence_is_in_it(names: set[str]) -> None:
    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]


def test_the_base_install_is_three_packages(metadata: Message) -> None:
    base = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(line.partition(">")[0] for line in base) == ["httpx", "pydantic", "typer"]


def test_the_extras_are_those_that_the_documentation_names(metadata: Message) -> None:
    assert {"server", "agent", "replay", "demo", "visualization", "pandas", "dev"} <= set(
        metadata.get_all("Provides-Extra", [])
    )


def test_the_baseline_policy_is_offered_by_name(installed: Path) -> None:
    program = """
from importlib.metadata import distributions
(rheostat,) = distributions(name="rheostat", path=["."])
(point,) = rheostat.entry_points.select(group="rheostat.policies", name="zeus")
print(point.load().batch_size.__name__)
"""
    result = run(installed, program)
    assert result.stdout == "PruningThompsonSampling\n", result.stderr


def test_a_trainer_needs_none_of_the_servers_packages(installed: Path) -> None:
    program = f"""{BLOCKER}
import rheostat, rheostat.sdk, rheostat.cli
for name in rheostat.__all__:
    getattr(rheostat, name)
print(rheostat.__file__)
"""
    result = run(installed, program)
    assert result.stdout.strip() == str(installed / "rheostat" / "__init__.py"), result.stderr


@pytest.mark.parametrize(
    ("command", "extra"),
    [(["serve"], "server"), (["jobs", "list"], "server"), (["demo"], "demo"), (["agent"], "agent")],
)
def test_a_command_that_needs_more_says_what_to_install(installed: Path, command: list[str], extra: str) -> None:
    result = run(installed, f"{BLOCKER}\nimport runpy\nrunpy.run_module('rheostat', run_name='__main__')", *command)
    assert result.returncode == 1
    assert f"pip install 'rheostat[{extra}]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_wheel_alone_makes_a_database(installed: Path, tmp_path: Path) -> None:
    program = "import runpy\nrunpy.run_module('rheostat', run_name='__main__')"
    database = f"sqlite:///{tmp_path / 'rheostat.db'}"
    result = run(installed, program, "db", "upgrade", "--database-url", database)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("schema: empty -> ")
