"""Walks the page from a CSV to an answer as a stranger would: every command, in its order."""

from __future__ import annotations

import csv
import os
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROWS = 600
TEAMS = {
    "accounts": "login password locked reset user name email access denied sign",
    "billing": "charged invoice twice refund card payment order price bill receipt",
    "shipping": "parcel late delivery address courier lost package tracking broken arrived",
}
COMMON = "the my since this morning please page says it is for one a was and again not help"


def write_tickets(path: Path) -> None:
    """Writes tickets whose words tell the team, with commas, quotes and empty subjects in them."""
    chosen = random.Random(5)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "subject", "body", "team"])
        for number in range(ROWS):
            team = list(TEAMS)[number % 3]
            words = [
                *chosen.choices(TEAMS[team].split(), k=6),
                *chosen.choices(COMMON.split(), k=12),
            ]
            chosen.shuffle(words)
            subject = '"Re", ' + " ".join(words[:4]) if number % 7 else ""
            writer.writerow([number, subject, " ".join(words), team])


def commands(repository: Path) -> list[str]:
    page = (repository / "docs" / "tutorial.md").read_text(encoding="utf-8")
    blocks = re.findall(r"<!-- needs: your own data -->\n```sh\n(.*?)```", page, re.DOTALL)
    return "".join(blocks).splitlines()


def test_every_command_of_the_tutorial_works_on_a_csv(repository: Path, tmp_path: Path) -> None:
    write_tickets(tmp_path / "tickets.csv")
    outputs = {}
    for command in commands(repository):
        program, *arguments = shlex.split(command)
        done = subprocess.run(
            [Path(sys.executable).with_name(program), *arguments],
            cwd=tmp_path,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        outputs[command] = done.stdout

    first, joined, run, answer, scored = outputs.values()
    for role in (r"text +body", r"label +team", r"id +id", r"date +-"):
        assert re.search(role, first), first
    assert "Train: arxiv-pipeline run --config tickets/pipeline.toml" in first
    assert "subject + body" in joined
    accuracy = float(re.search(r"Test accuracy ([\d.]+)", run)[1])
    assert accuracy > 0.9
    assert "Pushed model:" in run
    assert re.search(r"^billing ", answer, re.MULTILINE), answer
    rows = list(csv.DictReader(scored.splitlines()))
    assert len(rows) == ROWS
    right = sum(row["label"] == list(TEAMS)[i % 3] for i, row in enumerate(rows))
    assert right > 0.9 * ROWS
