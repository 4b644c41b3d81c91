import pytest

from rheostat.errors import ConfigurationError
from rheostat.sdk.integrations.batches import Split, equal_split, share


@pytest.mark.parametrize(
    ("most_per_device", "accumulation_steps", "expected"),
    [
        (None, 1, Split(32, 1)),
        (None, 4, Split(8, 4)),
        (16, 1, Split(16, 2)),
        (31, 1, Split(16, 2)),
        (0, 1, Split(1, 32)),
    ],
)
def test_parts_multiply_to_the_global_batch(
    most_per_device: int | None, accumulation_steps: int, expected: Split
) -> None:
    assert equal_split(64, 2, accumulation_steps, most_per_device) == expected


@pytest.mark.parametrize(("devices", "accumulation_steps"), [(3, 1), (2, 5), (128, 1)])
def test_a_batch_that_cannot_be_split_equally_is_refused(devices: int, accumulation_steps: int) -> None:
    with pytest.raises(ConfigurationError, match=f"multiples of {devices * accumulation_steps}"):
        equal_split(64, devices, accumulation_steps)


def test_shares_differ_by_at_most_one_item_and_add_up() -> None:
    shares = [share(range(10), 4, part) for part in range(4)]
    assert [len(one) for one in shares] == [3, 3, 2, 2]
    assert [item for one in shares for item in one] == list(range(10))
