"""Names are shortened by the columns that they take."""

import pytest

from catdog.drawing.fonts import shorten


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("cat", "cat"),
        ("a" * 24, "a" * 24),
        ("a" * 12 + "-" * 9 + "b" * 12, "a" * 12 + "…" + "b" * 12),
        ("猫" * 12, "猫" * 12),
        ("猫" * 13, "猫" * 6 + "…" + "猫" * 6),
        ("a\nb", r"a\nb"),
        ("\udcff", "\udcff"),
    ],
)
def test_a_name_is_shortened_in_its_middle(name: str, short: str) -> None:
    assert shorten(name) == short
