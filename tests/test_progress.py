"""The bar of a file moves within a part."""

from common.coding import new_columns


def test_progress_is_told_within_a_part(shipped):
    told = []
    titles = [f"Nurse {i}" * (1 + i % 9) for i in range(300)]
    new_columns(shipped, titles, [None] * 300, 1, progress=told.append)
    assert len(told) > 3 and told == sorted(told) and told[-1] == 300
