"""Each departure from the released labels does what its name says, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from rpn_plugin.distill.labels.pseudo_labels import (
    BACKGROUND,
    FOREGROUND,
    IGNORE,
    LabelOptions,
    pseudo_labels,
)


def spot(shape: tuple[int, int] = (8, 8), peak: float = 1.0) -> np.ndarray:
    attention = np.full(shape, 0.01 * peak)
    attention[2, 3] = peak
    return attention


def test_sinks_train_nothing_where_released_they_are_background() -> None:
    sinks = np.zeros((8, 8))
    sinks[7, 7] = sinks[2, 4] = 1.0
    released = pseudo_labels(spot(), sinks).labels
    ours = pseudo_labels(spot(), sinks, options=LabelOptions(ignore_sinks=True)).labels
    assert released[7, 7] == BACKGROUND
    assert ours[7, 7] == ours[2, 4] == IGNORE
    assert ours[2, 3] == FOREGROUND
    differs = released != ours
    assert differs.sum() == 1
    assert differs[7, 7]


def test_a_weak_peak_counts_if_it_stands_clear_of_its_own_map() -> None:
    relative = LabelOptions(relative_peak=True)
    weak, flat = spot(peak=1e-3), np.full((8, 8), 0.1)
    flat[2, 3] = 0.3
    assert (pseudo_labels(weak).labels == IGNORE).all()
    assert pseudo_labels(weak, options=relative).labels[2, 3] == FOREGROUND
    assert (pseudo_labels(flat, options=relative).labels == IGNORE).all()


@pytest.mark.parametrize(("size", "shape"), [((100, 50), (8, 8)), ((50, 100), (8, 8)),
                                             ((100, 100), (4, 8)), ((30, 10), (7, 9))])  # fmt: skip
def test_padding_is_known_on_any_grid_and_centred(
    size: tuple[int, int], shape: tuple[int, int]
) -> None:
    attention = np.full(shape, 0.04)
    attention[shape[0] // 2, shape[1] // 2] = 0.2
    exact = LabelOptions(exact_padding=True)
    padded = pseudo_labels(attention, content_size=size, options=exact).labels == BACKGROUND
    np.testing.assert_array_equal(padded, padded[::-1])
    np.testing.assert_array_equal(padded, padded[:, ::-1])
    fit = min(shape[0] / size[1], shape[1] / size[0])
    content = (size[1] * fit) * (size[0] * fit)
    assert abs((~padded).sum() - content) <= max(shape)


def test_released_padding_of_an_odd_rest_has_a_row_too_many() -> None:
    attention = np.full((8, 8), 0.04)
    attention[4, 4] = 0.2
    size = (80, 50)  # 5 rows of 8: 3 are padding
    released = pseudo_labels(attention, content_size=size).labels == BACKGROUND
    exact = pseudo_labels(attention, content_size=size, options=LabelOptions(exact_padding=True))
    assert [row for row in range(8) if not released[row].all()] == [1, 2, 3, 4, 5, 6]
    assert [row for row in range(8) if not (exact.labels[row] == BACKGROUND).all()] == [2, 3, 4, 5]


def test_another_share_of_the_peak_is_foreground() -> None:
    attention = spot()
    attention[2, 4] = 0.3
    assert pseudo_labels(attention).labels[2, 4] == FOREGROUND
    assert pseudo_labels(attention, options=LabelOptions(foreground=0.4)).labels[2, 4] == IGNORE
