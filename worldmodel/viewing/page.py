"""One HTML page with its pictures and videos inside: it opens from a disk without a network, and in a notebook."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from worldmodel.errors import WorldModelError

KINDS = {".png": "image/png", ".mp4": "video/mp4"}

STYLE = """
:root { color-scheme: light dark; --ground: #f4f5f7; --card: #fff; --ink: #1a1f26; --quiet: #59636e; --line: #dfe3e8; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #0e1116; --card: #171b21; --ink: #e7eaee; --quiet: #9aa5b1; --line: #2b323b; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
header, main { max-width: 1120px; margin: auto; padding: 20px 16px 0; }
main { padding-bottom: 32px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 19px; margin: 0 0 4px; }
p { margin: 0 0 12px; color: var(--quiet); max-width: 75ch; }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; }
a { color: inherit; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 18px; margin-top: 16px;
  overflow: hidden; }
img, video { display: block; max-width: 100%; height: auto; border-radius: 8px; background: #fff; margin-top: 12px; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
td, th { text-align: left; padding: 4px 20px 4px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 500; color: var(--quiet); white-space: nowrap; }
code { background: var(--ground); border-radius: 6px; padding: 2px 6px; overflow-wrap: anywhere; }
"""


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: its heading.
        text: what is to be seen, in a sentence or two.
        rows: of a table, name and value.
        files: pictures (PNG) and videos (MP4), each below the one before.
        command: for a terminal, to go on from here.
    """

    title: str
    text: str
    rows: Sequence[tuple[str, str]] = ()
    files: Sequence[Path] = ()
    command: str = ""


class Shown:
    """Pictures and videos for a notebook: as the last line of a cell, they appear below it.

    Args:
        files: PNG and MP4.
    """

    def __init__(self, *files: Path | str) -> None:
        self.files = [Path(file) for file in files]

    def _repr_html_(self) -> str:
        return "\n".join(embed(path) for path in self.files)


def write_page(path: Path, title: str, text: str, sections: Sequence[Section]) -> None:
    """Write a page; the file appears when it is whole.

    Raises:
        WorldModelError: a file of it is missing or neither PNG nor MP4, or the page cannot be written.
    """
    contents = "".join(
        f'<a href="#part-{number}">{html.escape(section.title)}</a>' for number, section in enumerate(sections)
    )
    body = "".join(_section(number, section) for number, section in enumerate(sections))
    page = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header><h1>{html.escape(title)}</h1><p>{html.escape(text)}</p><nav>{contents}</nav></header>\n"
        f"<main>{body}</main>\n</body>\n</html>\n"
    )
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(page, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise WorldModelError(f"Page '{path}' cannot be written: {error.strerror}. Choose another place.") from error
    finally:
        if partial.is_file():
            partial.unlink()


def embed(path: Path) -> str:
    """Return HTML that shows a picture or video with all its bytes inside.

    Raises:
        WorldModelError: it is missing, or neither PNG nor MP4.
    """
    kind = KINDS.get(path.suffix)
    if kind is None:
        raise WorldModelError(f"'{path}' cannot be shown on a page; expected {' or '.join(KINDS)}.")
    try:
        data = base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError as error:
        raise WorldModelError(f"'{path}' cannot be read: {error.strerror}.") from error
    address, name = f"data:{kind};base64,{data}", html.escape(path.stem.replace("-", " "))
    if path.suffix == ".mp4":
        return f'<video src="{address}" aria-label="{name}" controls autoplay muted loop playsinline></video>'
    return f'<img src="{address}" alt="{name}">'


def _section(number: int, section: Section) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in section.rows
    )
    table = f"<table>{rows}</table>" if rows else ""
    command = f"<p><code>{html.escape(section.command)}</code></p>" if section.command else ""
    return (
        f'<section id="part-{number}"><h2>{html.escape(section.title)}</h2><p>{html.escape(section.text)}</p>'
        f"{table}{command}{''.join(embed(path) for path in section.files)}</section>\n"
    )
