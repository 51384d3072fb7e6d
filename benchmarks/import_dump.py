"""Measures `arxiv-pipeline import` on a generated dump of arXiv's metadata.

python benchmarks/import_dump.py [--rows 1000000] [--folder DIR] [--results FILE]

The dump holds the sample corpus's papers, whose abstracts have the real ones' lengths (144 words on
average): 50,000 distinct ones, repeated under ids of their own. It is imported plain, gzipped, and
as a sample, each in a process of its own, and a tenth of it, to show what memory depends on.
Another load on the machine shows in the rows a second by the clock, less in those by processor
time; the load average is printed.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Optional

import machine
import orjson
import typer

from components.arrow import open_parquet
from pipeline.corpora.paper_import import ImportRequest, run
from pipeline.corpora.sample import write_sample_corpus

_DISTINCT = 50_000
_ID = "0000.00000"


def main(
    rows: Annotated[int, typer.Option(min=1000, help="Rows of the dump.")] = 1_000_000,
    folder: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Where the dump goes: 1.5 GB for a million rows. A temporary one else."),
    ] = None,
    results: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="JSON file to write the results into."),
    ] = None,
    once: Annotated[Optional[str], typer.Option(hidden=True)] = None,  # noqa: UP045
) -> None:
    """Prints commit, hardware, load, rows per second and peak memory of each import."""
    if once:
        print(json.dumps(_measure(*json.loads(once))))
        return
    with tempfile.TemporaryDirectory(dir=folder) as made:
        plain, packed, tenth = (
            Path(made) / name for name in ("dump.json", "dump.gz", "tenth.json")
        )
        papers = _papers(Path(made))
        for path, count in ((plain, rows), (tenth, rows // 10)):
            with path.open("wb") as file:
                file.writelines(_dump(papers, count))
        with plain.open("rb") as source, gzip.open(packed, "wb", 1) as file:
            while block := source.read(1 << 22):
                file.write(block)
        output = Path(made) / "papers.parquet"
        found = {
            name: _run(path, output, limit)
            for name, path, limit in (
                ("plain", plain, None),
                ("gzip", packed, None),
                ("gzip, sample of a tenth", packed, rows // 10),
                ("a tenth, plain", tenth, None),
            )
        }
        size = plain.stat().st_size
    about = {
        "commit": machine.commit(),
        "processor": machine.processor(),
        "rows": rows,
        "bytes_per_row": round(size / rows),
    }
    for key, value in about.items():
        print(f"{key:<14} {value}")
    for name, one in found.items():
        print(
            f"{name:<24} {one['rows'] / one['seconds']:>7,.0f} rows/s, "
            f"{one['rows'] / one['cpu_seconds']:>7,.0f} rows per second of processor time, "
            f"peak {one['peak_mib']:.0f} MiB, load {one['load']:.1f}"
        )
    if results:
        results.write_text(json.dumps({**about, "imports": found}, indent=2) + "\n")


def _papers(folder: Path) -> list[bytes]:
    """Returns the distinct papers as lines of the dump, each with the id ``_ID``."""
    corpus = folder / "sample.parquet"
    write_sample_corpus(corpus, _DISTINCT, seed=1)
    lines = []
    with open_parquet(str(corpus)) as file:
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                row["id"] = _ID
                row["abstract"] = row["abstract"] or "Some papers of the sample have no abstract."
                row["categories"] = f"{row.pop('primary_category')} math.CO"
                del row["final_category"]
                for version in row["versions"]:
                    version["created"] = "Mon, 2 Apr 2007 19:18:42 GMT"
                lines.append(orjson.dumps(row) + b"\n")
    return lines


def _dump(papers: list[bytes], rows: int) -> Iterator[bytes]:
    """Yields lines of the dump: the papers in turn, under ids of their own."""
    old = b'"id":"%b"' % _ID.encode()
    for number, line in zip(range(rows), itertools.cycle(papers), strict=False):
        new = b'"id":"%04d.%05d"' % (number // 100_000, number % 100_000)
        yield line.replace(old, new, 1)


def _run(source: Path, output: Path, limit: int | None) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--once", json.dumps([str(source), str(output), limit])],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _measure(source: str, output: str, limit: int | None) -> dict[str, Any]:
    load = os.getloadavg()[0]
    clock, processor = time.perf_counter(), time.process_time()
    tally = run(ImportRequest(Path(source), Path(output), limit=limit, overwrite=True))
    if tally is None:
        raise RuntimeError("nothing was imported")
    return {
        "rows": tally.rows,
        "imported": tally.classes.total(),
        "seconds": time.perf_counter() - clock,
        "cpu_seconds": time.process_time() - processor,
        "peak_mib": _peak_mib(),
        "load": load,
    }


def _peak_mib() -> float:
    # Not machine.peak_mib(): what getrusage says begins with the parent's, which made the dump.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    typer.run(main)
