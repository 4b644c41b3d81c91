"""Policies come by name from installed packages."""

from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from textwrap import dedent

import pytest

from rheostat.errors import InvalidInput, PolicyFailed
from rheostat.policy import interface
from rheostat.policy.interface import Situation
from rheostat.policy.registry import DEFAULT_POLICY, GROUP, load_policy, policy_names
from rheostat.policy.zeus import JustInTimePowerLimit, PruningThompsonSampling
from tests.policy.examples import JsonStore, a_job


@pytest.fixture(autouse=True)
def nothing_loaded() -> Iterator[None]:
    load_policy.cache_clear()
    yield
    load_policy.cache_clear()


class SitePackages:
    """A directory of installed packages, each with one module and one entry point."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def install(self, name: str, module: str, target: str) -> None:
        (self.path / f"{name}_policy.py").write_text(module)
        metadata = self.path / f"{name}_policy-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-policy\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {name}_policy:{target}\n")


@pytest.fixture
def site_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SitePackages:
    monkeypatch.syspath_prepend(str(tmp_path))
    return SitePackages(tmp_path)


def example_in_the_documentation() -> str:
    """Return the module that the interface's documentation shows, with the import that it leaves out."""
    assert interface.__doc__ is not None
    lines = interface.__doc__.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("    class "))
    end = next(number for number, line in enumerate(lines) if number > begin and line[:1].strip())
    example = dedent("\n".join(lines[begin:end]))
    return f"from rheostat.policy.interface import BatchSizeOptimizer\n\n{example}"


def test_the_baseline_is_there_and_is_the_default() -> None:
    assert DEFAULT_POLICY in policy_names()
    assert load_policy("zeus").batch_size is PruningThompsonSampling
    assert load_policy("zeus").power_limit is JustInTimePowerLimit


def test_the_documented_example_is_a_policy_that_works(site_packages: SitePackages) -> None:
    site_packages.install("smallest", example_in_the_documentation(), "Smallest")
    assert policy_names() == tuple(sorted({*policy_names(), "smallest"}))
    policy = load_policy("smallest")
    batch_size = policy.batch_size(JsonStore())
    batch_size.register_job(a_job(), [16, 32])
    batch_size.observe(a_job(), 16, 100.0)
    assert batch_size.name == "smallest"
    assert batch_size.choose(a_job(), Situation((16, 32))).batch_size == 16
    assert policy.power_limit is JustInTimePowerLimit


def test_a_power_limit_optimizer_alone_goes_with_the_baselines_batch_sizes(site_packages: SitePackages) -> None:
    module = """
from rheostat.policy.interface import PowerLimitOptimizer

class Highest(PowerLimitOptimizer):
    name = "highest"
    def predict(self, job, batch_size): return job.power_limits_watts[0]
    def observe(self, job, batch_size, power_limit, cost): pass
"""
    site_packages.install("highest", module, "Highest")
    policy = load_policy("highest")
    assert policy.batch_size is PruningThompsonSampling
    assert policy.power_limit({}).predict(a_job(), 32) == 300


def test_a_pair_of_both_is_a_policy(site_packages: SitePackages) -> None:
    site_packages.install("pair", "from rheostat.policy.zeus import POLICY\n", "POLICY")
    assert load_policy("pair") == load_policy("zeus")


def test_an_unknown_name_is_refused_with_the_names_there_are(site_packages: SitePackages) -> None:
    site_packages.install("another", "from rheostat.policy.zeus import POLICY\n", "POLICY")
    with pytest.raises(InvalidInput, match="no policy 'nonesuch'") as caught:
        load_policy("nonesuch")
    assert [field.field for field in caught.value.fields] == ["policy"]
    assert "another, rheostat, zeus" in caught.value.fields[0].message
    assert GROUP in caught.value.hint


@pytest.mark.parametrize(
    ("name", "module", "complaint"),
    [
        ("unimportable", "import a_module_that_is_nowhere", "a_module_that_is_nowhere"),
        ("raising", "raise RuntimeError('no licence')", "no licence"),
        ("misspelt", "Policies = 1", "POLICY"),
    ],
)
def test_a_package_that_cannot_be_imported_is_named_with_what_went_wrong(
    site_packages: SitePackages, name: str, module: str, complaint: str
) -> None:
    site_packages.install(name, module, "POLICY")
    with pytest.raises(PolicyFailed, match=rf"The policy '{name}' cannot be imported: .*{complaint}"):
        load_policy(name)


@pytest.mark.parametrize(("name", "offer"), [("number", "1"), ("function", "lambda store: None"), ("other", "dict")])
def test_an_entry_point_that_is_no_policy_is_refused(site_packages: SitePackages, name: str, offer: str) -> None:
    site_packages.install(name, f"POLICY = {offer}\n", "POLICY")
    with pytest.raises(PolicyFailed, match=f"'{name}'.* is neither a Policy nor an optimizer class"):
        load_policy(name)


def test_a_broken_package_does_not_hide_the_others(site_packages: SitePackages) -> None:
    site_packages.install("broken", "raise RuntimeError", "POLICY")
    assert {"broken", "zeus"} <= {*policy_names()} == {point.name for point in entry_points(group=GROUP)}
    assert load_policy("zeus").batch_size is PruningThompsonSampling
