"""The pages are whole: generated ones fresh, links sound, commands real."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

# Programs that a page may call without saying that a test machine lacks what they need.
PROGRAMS = {"make", "cp", "arxiv-pipeline", "arxiv-classify", ".venv/bin/arxiv-classify"}


class Block(NamedTuple):
    """A fenced block of shell commands.

    Attributes:
        page: path from the project's root.
        needs: what it needs that a test machine lacks; empty where nothing.
        commands: one a line, comments removed.
    """

    page: str
    needs: str
    commands: list[str]


def shell_blocks(repository: Path) -> list[Block]:
    """Returns the shell blocks of README and all pages."""
    pages = [repository / "README.md", *sorted((repository / "docs").rglob("*.md"))]
    pattern = re.compile(r"(?:<!-- needs: (?P<needs>.+?) -->\n)?```sh\n(?P<body>.*?)```", re.DOTALL)
    return [
        Block(
            str(page.relative_to(repository)),
            found["needs"] or "",
            [re.sub(r"\s+#\s.*", "", line) for line in found["body"].splitlines() if line.strip()],
        )
        for page in pages
        for found in pattern.finditer(page.read_text(encoding="utf-8"))
    ]


def test_shell_commands_are_tested_or_say_what_they_need(repository: Path) -> None:
    blocks = shell_blocks(repository)
    assert len(blocks) > 10
    for block in blocks:
        if not block.needs:
            unknown = [line for line in block.commands if line.split()[0] not in PROGRAMS]
            assert unknown == [], f"{block.page}: nothing runs these; mark the block"


def test_make_targets_and_options_named_on_a_page_exist(repository: Path) -> None:
    makefile = (repository / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = {
        line.split()[1]
        for block in shell_blocks(repository)
        for line in block.commands
        if line.startswith("make ")
    }
    assert named <= targets
    assert {"run", "test"} <= named


def test_generated_pages_are_fresh(repository: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_site_builds_strictly_and_lists_every_page(repository: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(
        [*command, "--site-dir", str(tmp_path)],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(repository / "docs") for path in (repository / "docs").rglob("*.md")}
    assert {tmp_path / page.with_suffix(".html") for page in pages} <= set(tmp_path.rglob("*.html"))


def test_readme_is_short_and_its_links_lead_somewhere(repository: Path) -> None:
    readme = (repository / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 180
    links = re.findall(r"\]\((?!https?:)([^)#]+)", readme)
    assert "docs/own-data.md" in links
    assert [link for link in links if not (repository / link).exists()] == []


def test_protobuf_does_not_parse_in_python() -> None:
    """The security page says so: the pure-Python parser has CVE-2025-4565."""
    code = "from google.protobuf.internal import api_implementation as a; print(a.Type())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "cpp"


def test_files_named_on_a_page_exist(repository: Path) -> None:
    pages = [repository / "README.md", *sorted((repository / "docs").rglob("*.md"))]
    pattern = re.compile(r"(?:components|pipeline|schema|tests|benchmarks)/[\w./-]*\.\w+")
    named = {name for page in pages for name in pattern.findall(page.read_text(encoding="utf-8"))}
    assert "components/arrow.py" in named
    assert [name for name in sorted(named) if not (repository / name).exists()] == []
