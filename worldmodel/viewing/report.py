"""The report of a run: all that can be seen of it, on one page."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.axes import Axes

from worldmodel.errors import WorldModelError
from worldmodel.evaluation.evaluate import ControlReport
from worldmodel.training.checkpoint import newest, read_card
from worldmodel.training.config import TrainConfig
from worldmodel.training.log import read_scalars
from worldmodel.viewing.data import recording_facts, view_recording
from worldmodel.viewing.find import Trained
from worldmodel.viewing.forecast import view_forecast
from worldmodel.viewing.latent import view_latent
from worldmodel.viewing.page import Section, write_page
from worldmodel.viewing.plan import view_plan
from worldmodel.viewing.plots import BLUE, GREY, ORANGE, TITLE, new_figure, tidy, write_figure
from worldmodel.viewing.rollout import view_rollout
from worldmodel.viewing.trials import REPORT, read_report

VIDEOS = 4  # trials of a report whose videos are shown


def view_report(trained: Trained, path: Path, progress: Callable[[int, int, str], None] = lambda *_: None) -> Path:
    """Draw all pictures and videos of a run into `view` beside `path`, and put them on one page.

    Args:
        path: of the page.
        progress: is told how many parts are done, of how many, and which comes next.
    """
    out, sections = path.parent / "view", []
    for done, (name, make) in enumerate(SECTIONS.items()):
        progress(done, len(SECTIONS), name)
        section = make(trained, out)
        if section is not None:
            sections.append(section)
    title = f"{trained.model.interface.env}: run {trained.folder.resolve().name}"
    write_page(path, title, "What was recorded, what was learned from it, and what can be done with that.", sections)
    progress(len(SECTIONS), len(SECTIONS), "")
    return path


def _data(trained: Trained, out: Path) -> Section:
    sheet, video, traces, coverage = view_recording(trained.recording, out)
    text = (
        "What the model learned from: some episodes of the recording, their actions and states, and where those were."
    )
    return Section("Record", text, recording_facts(trained.recording), (video, sheet, traces, coverage))


def _training(trained: Trained, out: Path) -> Section:
    card, config = read_card(newest(trained.folder)), trained.config
    parameters = sum(parameter.numel() for parameter in trained.model.parameters())
    rows = [
        ("parameters", f"{parameters / 1e6:.2f} million"),
        ("latent", f"{config.model.latent} numbers for a frame"),
        ("steps", _steps(config, card.position.total)),
        ("trained in", f"{card.position.seconds:,.0f} s"),
        ("seed", str(config.seed)),
    ]
    path = out / "training.png"
    _write_training(path, read_scalars(trained.folder))
    text = "Forecast errors of held-out episodes while the model learned, beside not forecasting at all; its loss."
    return Section("Learn", text, rows, (path,))


def _steps(config: TrainConfig, total: int) -> str:
    """Tell how many steps were taken: stage by stage as configured, or in all where the clock decided."""
    if config.minutes is not None:
        return f"{total:,} in the {config.minutes:g} min that all stages shared"
    stages = {
        "see": config.see,
        "tune": config.tune,
        "forecast": config.forecast,
        "guide": config.guide,
        "draw": config.draw,
    }
    return ", ".join(f"{name} {stage.steps:,}" for name, stage in stages.items() if stage)


def _rollout(trained: Trained, out: Path) -> Section:
    visible, horizon = trained.model.most_visible, trained.model.longest_forecast
    strip, video = view_rollout(
        trained.model, trained.recording, trained.held_out, trained.compute, out, visible=visible, horizon=horizon
    )
    text = "What the model imagines of held-out episodes, without looking, beside what really happened."
    return Section("Dream", text, (), (video, strip, *view_forecast(trained, out)))


def _latent(trained: Trained, out: Path) -> Section:
    picture, projector = view_latent(trained, out)
    text = "How the model sees frames: it is never told the state, and the colours show how much of it can be found."
    command = f"tensorboard --logdir {shlex.quote(str(projector))}"
    return Section("Latents", text, (), (picture,), command)


def _is_of(report: Path, trained: Trained) -> bool:
    """Return whether a report is there and, by task and seed, of this run: the one beside it may be of another."""
    if not report.is_file():
        return False
    held = ControlReport.read(report)
    return (held.env, held.training_seed) == (trained.model.interface.env, trained.config.seed)


def _plan(trained: Trained, out: Path) -> Section | None:
    folders = (trained.folder / "plan", trained.folder.resolve().parent / "plan")
    folder = next((folder for folder in folders if _is_of(folder / REPORT, trained)), None)
    if folder is None:
        return None
    try:
        _, config, _ = read_report(folder)
        pictures = view_plan(trained, folder, out)
    except WorldModelError as error:  # of another run with the same task and seed, or damaged
        return Section("Plan", f"A report of control is there, but cannot be shown. {error}")
    report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    rows = [("at the goal in the end", _rate(report["success"])), ("touched it", _rate(report["success_ever"]))]
    rows += [(f"{name} actions", _rate(rate)) for name, rate in report["floors"].items()]
    rows.append(("tolerance", f"{report['tolerance']:g} {report['unit']}"))
    videos = sorted((folder / "videos").glob("trial-*.mp4"), key=lambda path: ("solved" in path.name, path.name))
    text = (
        f"Control towards {config.episodes} goals from held-out episodes, each told by a picture. Below, some trials "
        "as they went, with what the planner tried; then videos, failures first: robot, imagined, goal."
    )
    return Section("Plan", text, rows, (*pictures, *videos[:VIDEOS]))


def _live(trained: Trained, out: Path) -> Section | None:
    if trained.recording.provenance.simulation is None:
        return None
    run, recording = (shlex.quote(str(path)) for path in (trained.folder, trained.recording.folder))
    return Section(
        "Steer",
        "Drive simulator and dream side by side, in a browser:",
        command=f"worldmodel view live {run} {recording}",
    )


SECTIONS: Mapping[str, Callable[[Trained, Path], Section | None]] = {
    "record": _data,
    "learn": _training,
    "dream": _rollout,
    "latents": _latent,
    "plan": _plan,
    "steer": _live,
}


def _rate(rate: dict[str, float]) -> str:
    return f"{rate['value']:.0%} [{rate['low']:.0%}, {rate['high']:.0%}] of {rate['count']:.0f}"


def _write_training(path: Path, lines: list[dict[str, float]]) -> None:
    figure = new_figure(13, 4)
    errors, losses = figure.subplots(1, 2)
    ahead = sorted({int(tag.rsplit("_", 1)[1]) for line in lines for tag in line if tag.startswith("valid/error_")})
    for frames, colour in zip(ahead, (BLUE, ORANGE), strict=False):
        _draw_scalar(errors, lines, f"valid/error_{frames}", color=colour, label=f"forecast, {frames} ahead")
        _draw_scalar(
            errors, lines, f"valid/copy_last_{frames}", color=colour, ls=":", label=f"copy last, {frames} ahead"
        )
    errors.set_title("Forecast error of held-out episodes", **TITLE)
    errors.set_ylabel("share of the latents’ variance")
    _draw_scalar(losses, lines, "train/forecast", color=BLUE, label="forecast")
    _draw_scalar(losses, lines, "train/decoder", color=GREY, label="decoder")
    losses.set_title("Loss", **TITLE)
    for axes in (errors, losses):
        axes.set_yscale("log")
        axes.set_xlabel("training step")
        axes.legend(frameon=False, fontsize=9)
        tidy(axes)
    write_figure(path, figure)


def _draw_scalar(axes: Axes, lines: list[dict[str, float]], tag: str, **style: str) -> None:
    values = {line["step"]: line[tag] for line in lines if tag in line}  # a resumed run repeats steps: the last holds
    axes.plot(sorted(values), [values[step] for step in sorted(values)], lw=1.8, **style)  # type: ignore[arg-type]
