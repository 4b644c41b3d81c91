"""The site file, and the errors of an invalid one."""

import os
from pathlib import Path

import pytest

from rheostat.agent.devices import PowerRange
from rheostat.agent.site import Site, load_site
from rheostat.errors import ConfigurationError

DRIVER = PowerRange(100_000, 300_000, 300_000)


def site(tmp_path: Path, text: str) -> Site:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    path.chmod(0o644)
    return load_site(path)


def test_without_a_file_limits_may_only_be_lowered() -> None:
    bounds = Site().bounds("GPU-1", DRIVER)
    assert (bounds.site_min_milliwatts, bounds.site_max_milliwatts, bounds.may_raise) == (None, None, False)
    assert Site().group == "rheostat"
    assert Site().allows_user("GPU-1", "anyone")


def test_the_settings_of_one_gpu_take_precedence_over_those_for_all(tmp_path: Path) -> None:
    text = """
group = "gpu-users"
[limits]
min_watts = 120
max_watts = 280
[gpus.GPU-1]
max_watts = 250.5
may_raise = true
users = ["alice"]
power_limits = false
"""
    loaded = site(tmp_path, text)
    own = loaded.bounds("GPU-1", DRIVER)
    assert (own.site_min_milliwatts, own.site_max_milliwatts, own.may_raise) == (120_000, 250_500, True)
    assert loaded.group == "gpu-users"
    assert loaded.allows_user("GPU-1", "alice")
    assert not loaded.allows_user("GPU-1", "bob")
    assert loaded.allows_user("GPU-2", "bob")
    assert (loaded.allows_power_limits("GPU-1"), loaded.allows_power_limits("GPU-2")) == (False, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[limits]\nmax_wats = 200", "limits.max_wats"),
        ("[limits]\nmax_watts = '200'", "limits.max_watts"),
        ("[limits]\nmax_watts = nan", "limits.max_watts"),
        ("[limits]\nmin_watts = 300\nmax_watts = 200", "min_watts = 300 is above max_watts = 200"),
        ("[limits]\nmax_watts = 200\n[gpus.GPU-1]\nmin_watts = 250", "GPU-1 would have a minimum"),
        ("[gpus.gpu0]\nmax_watts = 200", "gpus.gpu0"),
        ("[limit]\nchange = false", "limit: unknown field; did you mean limits?"),
        ("[limits]\nmax_wats = 200", "limits.max_wats: unknown field; did you mean max_watts?"),
        ("group = ", "is not TOML"),
    ],
)
def test_each_invalid_field_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        site(tmp_path, text)
    assert message in str(caught.value)


def test_all_invalid_fields_are_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        site(tmp_path, "colour = 1\n[limits]\nmin_watts = -1\nmay_raise = 'yes'")
    assert [field.field for field in caught.value.fields] == ["limits.min_watts", "limits.may_raise", "colour"]


def test_a_file_that_other_users_can_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("")
    path.chmod(0o666)
    with pytest.raises(ConfigurationError, match="chmod go-w"):
        load_site(path)
    if os.geteuid() == 0:
        path.chmod(0o644)
        os.chown(path, 65534, 65534)
        with pytest.raises(ConfigurationError, match="owned by user 65534"):
            load_site(path)


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load_site(tmp_path / "none.toml")


def test_limits_are_forbidden_for_all_gpus_but_those_that_are_named(tmp_path: Path) -> None:
    loaded = site(
        tmp_path, "[limits]\nchange = false\n[gpus.GPU-1]\npower_limits = true\n[gpus.GPU-2]\nmax_watts = 200"
    )
    allowed = [loaded.allows_power_limits(uuid) for uuid in ("GPU-1", "GPU-2", "GPU-3")]
    assert allowed == [True, False, False]


@pytest.mark.parametrize(
    ("text", "found", "expected"),
    [
        ("", 250_000, (100_000, 250_000)),
        ("", None, (100_000, 300_000)),
        ("[limits]\nmin_watts = 120\nmax_watts = 280\nmay_raise = true", 250_000, (120_000, 280_000)),
    ],
)
def test_the_settable_range_follows_from_driver_site_and_the_limit_found(
    tmp_path: Path, text: str, found: int | None, expected: tuple[int, int]
) -> None:
    assert site(tmp_path, text).settable_range("GPU-1", DRIVER, found) == expected
