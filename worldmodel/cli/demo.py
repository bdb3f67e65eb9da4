"""`worldmodel demo`: the whole way, once: record, learn, plan, see."""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from worldmodel.cli.pipeline import MODEL, PLAN, RECORDING, PipelineConfig, run_pipeline
from worldmodel.cli.plan import print_report
from worldmodel.cli.progress import bar
from worldmodel.config import from_json, to_json
from worldmodel.errors import WorldModelError
from worldmodel.evaluation.evaluate import Evaluation
from worldmodel.training.checkpoint import load_model
from worldmodel.training.config import CONFIG
from worldmodel.viewing.demo import write_demo_summary
from worldmodel.viewing.find import open_trained
from worldmodel.viewing.report import SECTIONS, view_report

REPORT, PAGE = "report.json", "report.html"


@dataclass(frozen=True)
class Command:
    """Record a reacher, train a world model on the video, control the arm to goal images it has not seen.

    A demo that was interrupted goes on where it stopped; one that is finished is moved aside and a new one made.

    Attributes:
        out: folder for everything.
        seed: of recording, training and evaluation.
        device: "auto" takes CUDA where there is one, else the CPU.
    """

    out: Path = Path("runs/demo")
    seed: int = 0
    device: str = "auto"

    def run(self) -> None:
        run_demo(PipelineConfig().with_seed(self.seed), self.out, self.device)


def run_demo(config: PipelineConfig, out: Path, device: str) -> None:
    """Record, learn, plan and see into the folder `out`, and print where to look."""
    console = Console(highlight=False)
    _make_room(out, config, console)
    recording_folder, run = out / RECORDING, out / MODEL
    with run_pipeline(config, out, device) as made:
        console.print("[bold]4. See[/]")
        evaluation, compute = made.evaluation, made.trainer.compute
        record_seconds = made.recording.manifest.seconds
        started = time.perf_counter()
        summary = write_demo_summary(evaluation, load_model(run, compute.device), made.recording, run, compute, out)
    with open_trained(run, recording_folder, compute) as trained, bar("Drawing", len(SECTIONS)) as shown:
        page = view_report(trained, out / PAGE, shown.update)
    see_seconds = time.perf_counter() - started
    seconds = {
        "record": record_seconds,
        "train": made.trainer.seconds,
        "plan": made.plan_seconds,
        "see": see_seconds,
    }
    _write_report(out / REPORT, evaluation, seconds)  # last: with it, the demo counts as finished
    print_report(evaluation.report)
    _print_paths(console, out, seconds, summary)
    console.print(f"[bold]Report of the run[/], for any browser: {page}", soft_wrap=True)
    program = "worldmodel" if shutil.which("worldmodel") else f"{sys.executable} -m worldmodel.cli"
    console.print(f"[bold]Steer its dream[/]: {program} view live {run} {recording_folder}", soft_wrap=True)


def _make_room(out: Path, config: PipelineConfig, console: Console) -> None:
    """Keep an unfinished demo of the same configuration; move any other aside."""
    out = out.resolve()
    path = out / CONFIG
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not _is_demo(path))):
        raise WorldModelError(f"'{out}' holds something else than a demo. Choose a new or empty folder with --out.")
    unfinished = path.exists() and not (out / REPORT).exists() and path.read_text(encoding="utf-8") == to_json(config)
    if out.exists() and any(out.iterdir()) and not unfinished:
        aside = out.with_name(f"{out.name}-{time.strftime('%Y%m%d-%H%M%S')}")
        out.rename(aside)
        console.print(f"The earlier demo was moved to {aside}.")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json(config), encoding="utf-8")


def _is_demo(path: Path) -> bool:
    try:
        from_json(PipelineConfig, path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _write_report(path: Path, evaluation: Evaluation, seconds: dict[str, float]) -> None:
    report = evaluation.report
    summary = {
        "success": report.success.value,
        "success_low": report.success.low,
        "success_high": report.success.high,
        "episodes": report.success.count,
        "random": report.floors["uniform"].value,
        "zero": report.floors["zero"].value,
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "control": asdict(report),
    }
    path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


def _print_paths(console: Console, out: Path, seconds: dict[str, float], summary: Path) -> None:
    table = Table(title="Time", title_justify="left", show_header=False)
    for name, value in {**seconds, "together": sum(seconds.values())}.items():
        table.add_row(name, f"{value:,.0f} s")
    console.print(table)
    for what, where in (
        ("Figures", str(out / REPORT)),
        ("Summary", str(summary)),
        ("Videos: robot, imagined, goal", str(out / PLAN / "videos")),
        ("Training", f"tensorboard --logdir {out / MODEL / 'tensorboard'}"),
    ):
        console.print(f"{what}: {where}", soft_wrap=True)
