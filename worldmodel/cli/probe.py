"""`worldmodel probe`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from worldmodel.cli.kept import REPORT, begin_report, open_recording
from worldmodel.cli.progress import bar
from worldmodel.datasets.reader import Recording
from worldmodel.evaluation.probe import ProbeConfig, probe
from worldmodel.evaluation.probes.readings import Spread
from worldmodel.evaluation.probes.report import Features, ProbeReport, ProbeResult, RolloutResult
from worldmodel.training.checkpoint import load_model, newest, read_card
from worldmodel.training.device import choose_compute
from worldmodel.training.log import log_findings

TRAINED = ("fine-tuned", "from scratch")
FRAMES = {"z_t": "1 frame", "z_t-1, z_t": "2 frames"}


@dataclass(frozen=True)
class Command:
    """Read the physical state from a run's latents, with few labels and with many, on held-out episodes.

    The run's TensorBoard gets the mean R² as `probe/`, at the step where training ended.

    Attributes:
        run_folder: folder of a trained run.
        recording: folder of the recording that it was trained on; found by itself where it is beside the run, or
            in `recordings/`.
        out: folder for `report.json`; `probe` inside the run when left out.
        device: "auto" takes CUDA where there is one, else the CPU.
    """

    run_folder: Annotated[Path, tyro.conf.Positional]
    recording: Annotated[Path | None, tyro.conf.Positional] = None
    out: Path | None = None
    config: Annotated[ProbeConfig, tyro.conf.arg(name="")] = field(default_factory=ProbeConfig)
    device: str = "auto"

    def run(self) -> None:
        out = self.out or self.run_folder / "probe"
        with open_recording(self.run_folder, self.recording) as recording:
            report = probe_with_bar(self.config, self.run_folder, recording, out, self.device)
        print_report(report)
        Console().print(f"Report: {out / REPORT}", soft_wrap=True)


def probe_with_bar(config: ProbeConfig, run: Path, recording: Recording, out: Path, device: str) -> ProbeReport:
    """Probe with a progress bar; write `config.json` and `report.json` into `out`, and R² to TensorBoard."""
    compute = choose_compute(device)
    model = load_model(run, compute.device)
    with bar("Probing") as shown:
        report = probe(
            config,
            model=model,
            recording=recording,
            run=run,
            compute=compute,
            progress=lambda done, total, what: shown.update(done, total, what),
        )
    begin_report(out, config)
    log_findings(run, "probe", read_card(newest(run)).position.total, report.scalars())
    report.write(out / REPORT)  # last: with it, probing counts as finished
    return report


def print_report(report: ProbeReport) -> None:
    """Print R² by share of labels, then every dimension at the largest share, then what forecasts hold."""
    console = Console()
    console.print(_by_labels(report))
    console.print(_by_dimension(report))
    if report.rollouts:
        console.print(_by_horizon(report))
    tuned = max((r.readings.seeds for r in report.results if r.method in TRAINED), default=0)
    seeds = report.results[0].readings.seeds
    trained = "" if tuned == seeds else f", {tuned} where the encoder is trained"
    console.print(
        f"Mean ± standard deviation over {seeds} seeds"
        + (trained if tuned else "; no encoder was trained (--tune.seeds 0)")
        + f"; {report.seconds:.0f} s."
        + (f" Not read, since they rest in the held-out episodes: {', '.join(report.still)}." if report.still else "")
    )


def _by_labels(report: ProbeReport) -> Table:
    table = _table(
        f"{report.env}: R² on {report.held_out_frames:,} frames of {report.held_out_episodes} held-out episodes\n"
        "(1 perfect, 0 no better than the mean), by share of labelled episodes",
        "read by",
        "what, from z of",
    )
    for share, episodes in sorted({(r.labels, r.episodes) for r in report.results}):
        table.add_column(f"{100 * share:.3g}% ({episodes})", justify="right", no_wrap=True)
    for result, *others in _ways(report):
        for kind in _kinds(result.features):
            cells = [str(getattr(r.readings, kind) or "none") for r in (result, *others)]
            table.add_row(_name(result), f"{kind}, {FRAMES[result.features]}", *cells, style=_style(result))
    return table


def _by_dimension(report: ProbeReport) -> Table:
    largest = max(result.labels for result in report.results)
    shown = [r for r in report.results if r.labels == largest and r.features != "z_t" and r.method != "ridge"]
    table = _table(f"Each dimension from z_t-1, z_t with {100 * largest:.3g}% of the labels: R²  RMSE", "dimension")
    for result in shown:
        table.add_column(
            _name(result).replace(",", "").replace("-", "-\n").replace(" ", "\n"), justify="right", style=_style(result)
        )
    for index, dimension in enumerate(report.dimensions):
        cells = [f"{r.readings.r2[index].mean:.2f} {r.readings.rmse[index].mean:.2g}" for r in shown]
        table.add_row(escape(str(dimension)), *cells)
    for index, name in enumerate(report.angles):
        table.add_row(escape(f"{name} [rad]"), *(f"{r.readings.angle_rmse[index].mean:.2g}" for r in shown))
    return table


def _by_horizon(report: ProbeReport) -> Table:
    table = _table(
        f"R² from forecasts by frames ahead, {report.visible} visible / from the same frames encoded",
        "read by",
        "what, from z of",
    )
    for ahead in sorted({result.ahead for result in report.rollouts}):
        table.add_column(str(ahead), justify="right")
    for method, features in dict.fromkeys((r.method, r.features) for r in report.rollouts):
        results = sorted((r for r in report.rollouts if (r.method, r.features) == (method, features)), key=_ahead)
        for kind in _kinds(features):
            pairs = [(getattr(r.forecast, kind), getattr(r.encoded, kind)) for r in results]
            table.add_row(method, f"{kind}, {FRAMES[features]}", *(f"{_mean(a)}/{_mean(b)}" for a, b in pairs))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=0)
    for name in columns:
        table.add_column(name, no_wrap=True)
    return table


def _ways(report: ProbeReport) -> list[list[ProbeResult]]:
    """Return the results of each way of reading, by rising share of labels."""
    ways: dict[tuple[str, str, str], list[ProbeResult]] = {}
    for result in sorted(report.results, key=lambda result: result.labels):
        ways.setdefault((result.source, result.method, result.features), []).append(result)
    return list(ways.values())


def _kinds(features: Features) -> tuple[str, ...]:
    """Return what can be read: a single frame does not show velocities."""
    return ("positions",) if features == "z_t" else ("positions", "velocities")


def _name(result: ProbeResult) -> str:
    return result.method if result.method in TRAINED else f"{result.source}, {result.method}"


def _style(result: ProbeResult) -> str:
    return "bold" if result.source == "world model" else ""


def _ahead(result: RolloutResult) -> int:
    return result.ahead


def _mean(spread: Spread | None) -> str:
    return f"{spread.mean:.2f}" if spread else "none"
