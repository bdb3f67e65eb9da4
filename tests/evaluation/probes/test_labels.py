"""Shares of labels are nested, split by episode, and refused where they are too small."""

from __future__ import annotations

import numpy as np
import pytest

from worldmodel.errors import RecordingError, WorldModelError
from worldmodel.evaluation.probes.labels import label_rows, labelled_episodes, rows_with_past, share_of

FIRST = np.cumsum([0, *(3 + i % 4 for i in range(40))])
SHARES = (0.05, 0.1, 0.5, 1.0)


def test_percentages_are_read() -> None:
    assert [share_of(text) for text in ("1%", "12.5 %", "100%")] == [0.01, 0.125, 1.0]
    for text in ("0%", "101%", "10", "-1%", "nan%", "all"):
        with pytest.raises(WorldModelError, match="expected percentages"):
            share_of(text)


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_nested_and_validation_is_of_other_episodes(seed: int) -> None:
    episode = np.searchsorted(FIRST, np.arange(FIRST[-1]), side="right") - 1
    before: tuple[set[int], set[int]] = (set(), set())
    for share in SHARES:
        rows = label_rows(FIRST, share, seed)
        training, validation = (set(x.tolist()) for x in (rows.training, rows.validation))
        assert before[0] <= training
        assert before[1] <= validation
        of_training, of_validation = ({int(episode[row]) for row in some} for some in (training, validation))
        assert of_training
        assert of_validation
        assert not of_training & of_validation
        assert len(of_training | of_validation) == labelled_episodes(40, share) == round(40 * share)
        assert not (training | validation) & set(FIRST.tolist())  # the first frame has none before it
        before = training, validation
    assert before[0] | before[1] == set(rows_with_past(FIRST).tolist())


def test_seeds_label_other_episodes() -> None:
    rows = [label_rows(FIRST, 0.1, seed).training.tolist() for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]


def test_too_few_labels_are_refused_with_what_would_do() -> None:
    with pytest.raises(RecordingError, match=r"0.01 of 40 training episodes are 0 labelled.*--labels 4% 100%"):
        labelled_episodes(40, 0.01)
    assert labelled_episodes(40, 0.04) == 2


def test_a_single_episode_is_refused_whatever_the_share() -> None:
    with pytest.raises(RecordingError, match=r"There is 1 training episode to label; expected at least 2.*Record more"):
        labelled_episodes(1, 1.0)
    assert labelled_episodes(2, 1.0) == 2
