"""Generates docs/commands.md from the commands' own help.

python docs/generate.py            writes the page
python docs/generate.py --check    exits with 1 if the page is stale
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from pipeline.cli.main import app as pipeline_app
from pipeline.client.cli.commands import app as client_app

PAGE = Path(__file__).with_name("commands.md")
_HEADER = """\
# Commands

This page is generated: `make docs` writes it anew from `--help`.
"""


def commands_page() -> str:
    """Returns the page: the help of each command, groups before their members."""
    sections = [_HEADER]
    for name, app in (("arxiv-pipeline", pipeline_app), ("arxiv-classify", client_app)):
        for path, text in _helps(typer.main.get_command(app), name, None):
            level = "##" if " " not in path else "###"
            sections.append(f"{level} {path}\n\n```text\n{text}\n```\n")
    return "\n".join(sections)


def _helps(command: Any, name: str, parent: Any) -> Iterator[tuple[str, str]]:
    """Yields path and help of a command and of those below it."""
    context = command.context_class(
        command, info_name=name, parent=parent, terminal_width=100, max_content_width=100
    )
    lines = command.get_help(context).splitlines()
    yield context.command_path, "\n".join(line.rstrip() for line in lines)
    for below in getattr(command, "commands", {}):
        yield from _helps(command.commands[below], below, context)


def main() -> int:
    """Writes or checks the page; returns the exit code."""
    page = commands_page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    fresh = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page
    if not fresh:
        print(f"{PAGE} is stale: make docs writes it anew", file=sys.stderr)
    return 0 if fresh else 1


if __name__ == "__main__":
    sys.exit(main())
