"""The survey of latents, and the plane on which neighbours stay neighbours."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from worldmodel.errors import WorldModelError
from worldmodel.viewing.find import Trained
from worldmodel.viewing.latent import goal_distances, view_latent
from worldmodel.viewing.latents import EncodedEpisode, chart, encode_episodes
from worldmodel.viewing.neighbours import embed


def test_a_survey_finds_the_directions_and_the_scale() -> None:
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(4000, 5)) * [0.1, 3, 0.1, 1, 0.1]
    survey = chart([EncodedEpisode(0, wide.astype(np.float32), np.zeros((4000, 1)))])
    assert np.abs(survey.axes[0]) == pytest.approx([0, 1, 0, 0, 0], abs=0.05)
    assert np.abs(survey.axes[1]) == pytest.approx([0, 0, 0, 1, 0], abs=0.05)
    assert survey.variance[:2] == pytest.approx([9, 1], rel=0.1)
    # Frames that have nothing to do with one another: the next is as far as any other.
    assert survey.motion / survey.unrelated == pytest.approx(1, rel=0.1)
    assert survey.project(wide[:7].astype(np.float32)).shape == (7, 2)
    with pytest.raises(WorldModelError, match="2 frames"):
        chart([EncodedEpisode(0, np.zeros((2, 5), np.float32), np.zeros((2, 1)))])


def test_distances_fall_to_the_goal() -> None:
    line = np.linspace(0, 1, 6, dtype=np.float32)[:, None].repeat(3, 1)
    distances = goal_distances(EncodedEpisode(0, line, np.zeros((6, 1))), unrelated=0.5)
    assert distances == pytest.approx([2, 1.28, 0.72, 0.32, 0.08, 0], abs=1e-6)


def test_tsne_keeps_three_clusters_apart() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 10)) * 10
    points = np.concatenate([centre + rng.normal(size=(30, 10)) for centre in centres]).astype(np.float32)
    placed = embed(points)
    assert np.array_equal(placed, embed(points))
    clusters = placed.reshape(3, 30, 2)
    middles = clusters.mean(1)
    within = np.linalg.norm(clusters - middles[:, None], axis=-1).mean()
    between = min(np.linalg.norm(middles[a] - middles[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert between > 3 * within
    with pytest.raises(WorldModelError, match="3 points"):
        embed(points[:3])


def test_the_latents_of_a_run_are_drawn_and_projected(opened: Trained, tmp_path: Path) -> None:
    picture, projector = view_latent(opened, tmp_path)
    assert cv2.imread(str(picture)).shape == (1200, 1300, 3)
    (encoded,) = encode_episodes(opened.model, opened.recording, opened.held_out, opened.compute)
    (tensors,) = projector.glob("*/latents/tensors.tsv")
    assert np.loadtxt(tensors) == pytest.approx(encoded.latents, abs=1e-4)
    rows = tensors.with_name("metadata.tsv").read_text().splitlines()
    assert rows[0] == "episode\tframe\tshoulder, rad\telbow, rad"
    assert rows[3].split("\t")[:2] == [str(encoded.index), "2"]


def test_nothing_but_its_own_is_deleted_from_the_projector(opened: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "projector"
    (folder / "data").mkdir(parents=True)
    others = [folder / "data" / "slides.txt", folder / "events.out.tfevents.1.somebody"]
    for path in others:
        path.write_text("mine")
    for _ in range(2):
        view_latent(opened, tmp_path)
    assert [path.read_text() for path in others] == ["mine", "mine"]
    assert len(list(folder.glob("events.*"))) == 2  # theirs, and that of the second time
    assert (folder / "00000" / "latents" / "tensors.tsv").is_file()
