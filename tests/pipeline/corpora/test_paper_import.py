"""The import of arXiv's metadata dump: what is kept, what is left out and why, what is refused."""

import bz2
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from components.arrow import pa, pq
from components.errors import UserError
from pipeline.corpora import paper_rows, row_source, sample
from pipeline.corpora.paper_import import ImportRequest, run
from pipeline.corpora.row_source import Tally

PAPER: dict[str, Any] = {
    "id": "0704.0001",
    "submitter": "A. Person",
    "authors": "A. Person and B. Müller",
    "title": "A title\n  over two lines",
    "comments": "12 pages",
    "journal-ref": None,
    "doi": None,
    "report-no": None,
    "categories": "math.CO cs.CG",
    "license": None,
    "abstract": "  We prove $x < y$ for all\ngraphs.\n",
    "versions": [{"version": "v1", "created": "Mon, 2 Apr 2007 19:18:42 GMT"}],
    "update_date": "2008-11-26",
    "authors_parsed": [["Person", "A.", ""], ["Müller", "B.", "", "Cairo"]],
}


def line(**changes: Any) -> bytes:
    """A line of the dump; a key that is changed to ... is missing."""
    paper = {name: value for name, value in {**PAPER, **changes}.items() if value is not ...}
    return json.dumps(paper, ensure_ascii=False).encode()


def dump(folder: Path, *lines: bytes, name: str = "dump.json") -> ImportRequest:
    path = folder / name
    path.write_bytes(b"".join(one + b"\n" for one in lines))
    return ImportRequest(path, folder / "papers.parquet")


def imported(request: ImportRequest) -> tuple[Tally, list[dict[str, Any]]]:
    tally = run(request)
    rows = pq.read_table(request.output).to_pylist()
    assert tally.rows == len(rows) + tally.left_out.total()
    assert tally.classes == Counter(row["final_category"] for row in rows)
    return tally, rows


def mistake(request: ImportRequest) -> str:
    with pytest.raises(UserError) as caught:
        run(request)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_paper_keeps_its_values_and_gets_category_and_subject(tmp_path: Path) -> None:
    request = dump(tmp_path, line(), line(id="hep-th/9901001", categories=" hep-th math.AG"))
    _, (first, second) = imported(request)
    assert first == {
        **{name: value for name, value in PAPER.items() if name != "categories"},
        "primary_category": "math.CO",
        "final_category": "math",
    }
    assert (second["id"], second["primary_category"], second["final_category"]) == (
        "hep-th/9901001", "hep-th", "physics",
    )  # fmt: skip
    assert pq.read_schema(request.output).equals(sample.SCHEMA)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"id": "1",', "not JSON"),
        (b'{"id": NaN}', "not JSON"),
        (b'{"id": 1e999}', "not JSON"),
        (b'{"id":' + b"[" * 5000 + b"]" * 5000 + b"}", "not JSON"),
        (b"\0\0\0", "not JSON"),
        (line() + line(), "not JSON"),
        (b'{"id": "\xff"}', "not UTF-8"),
        (b'{"id": "\\ud800"}', "not UTF-8"),
        (b"[1, 2]", "no JSON object"),
        (b"7", "no JSON object"),
        (b"null", "no JSON object"),
        (line(title="x" * 20_000), "over 0 MiB"),
        (line(id=...), "no id"),
        (line(id=None), "no id"),
        (line(id=" "), "no id"),
        (line(id=704.0001), "id: wrong type"),
        (line(title=["x"]), "title: wrong type"),
        (line(comments={}), "comments: wrong type"),
        (line(doi=True), "doi: wrong type"),
        (line(categories=["cs.LG"]), "categories: wrong type"),
        (line(authors_parsed="Person"), "authors_parsed: wrong type"),
        (line(authors_parsed=["Person"]), "authors_parsed: wrong type"),
        (line(authors_parsed=[[1]]), "authors_parsed: wrong type"),
        (line(authors_parsed=10**30), "authors_parsed: wrong type"),
        (line(versions="v1"), "versions: wrong type"),
        (line(versions=["v1"]), "versions: wrong type"),
        (line(versions=[{"created": 2007}]), "versions: wrong type"),
        (line(abstract=...), "no abstract"),
        (line(abstract="\n  \n"), "no abstract"),
        (line(abstract="This paper has been withdrawn by the author.\n"), "withdrawn"),
        (line(comments="Withdrawn"), "withdrawn"),
        (line(categories=...), "no category"),
        (line(categories="  "), "no category"),
        (line(categories="zz.AA cs.LG"), "unknown archive"),
        (line(categories="q-fin.PR"), "archive without a subject"),
        (line(id="1"), "repeated id"),
    ],
)
def test_a_bad_line_is_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: bytes, reason: str
) -> None:
    monkeypatch.setattr(row_source, "MAX_LINE", 15_000)
    request = dump(tmp_path, line(id="1"), b" ", bad, line(id="2"))
    tally, rows = imported(request)
    assert [row["id"] for row in rows] == ["1", "2"]
    assert (tally.rows, tally.left_out, tally.first_lines) == (3, {reason: 1}, {reason: [3]})
    report = json.loads((tmp_path / "papers.import.json").read_text())
    assert report["left_out"] == {reason: 1}


def test_missing_keys_are_null_and_unknown_ones_ignored(tmp_path: Path) -> None:
    request = dump(tmp_path, line(title=..., versions=..., update_date=..., more=1))
    _, (row,) = imported(request)
    assert [row[name] for name in ("title", "versions", "update_date")] == [None] * 3


def test_overlong_and_split_lines_over_many_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_source, "MAX_LINE", 3000)
    monkeypatch.setattr(row_source, "BLOCK", 100)
    monkeypatch.setattr(row_source, "_MOST_ROWS", 7)
    papers = [line(id=f"{number}", comments="x" * number) for number in range(60)]
    long = [b"x" * 10_000, line(id="long", title="é" * 5000)]
    request = dump(tmp_path, *papers[:30], *long, *papers[30:])
    # A byte order mark, other line ends, and no end of the last line.
    content = request.source.read_bytes().replace(b"\n", b"\r\n").rstrip()
    request.source.write_bytes(b"\xef\xbb\xbf" + content)
    tally, rows = imported(request)
    assert [row["id"] for row in rows] == [f"{number}" for number in range(60)]
    assert tally.first_lines == {"over 0 MiB": [31, 32]}


@pytest.mark.parametrize(
    ("said", "withdrawn"),
    [
        ("This paper has been withdrawn", True),
        (
            "This paper has been withdrawn by the author(s), due a crucial sign error in Eqn. 1",
            True,
        ),
        ("THE ARTICLE IS WITHDRAWN BY THE AUTHORS", True),
        ("Withdrawn due to an incompleteness of the main results", True),
        ("Paper withdrawn", True),
        ("This submission has been withdrawn by arXiv admins", True),
        ("The authors have withdrawn this article [arXiv admin]", True),
        ("This version of the paper has been withdrawn due to an error", True),
        ("12 pages. This preliminary\n  preprint has been withdrawn by the author", True),
        ("We count graphs. This paper has been withdrawn since a better one is there", True),
        ("When a solid plate is withdrawn from a liquid bath", False),
        ("37 pages; replaces an earlier paper that was withdrawn", False),
        ("20 pages. Version 2: Section 6 withdrawn", False),
        ("This paper retrieves correct parts of the withdrawn paper math/0607470", False),
        ("agents may decide to withdraw only some of their weight", False),
    ],
)
def test_what_a_withdrawn_paper_says(tmp_path: Path, said: str, withdrawn: bool) -> None:
    other = line(id="other")
    for field in ("abstract", "comments"):
        tally, _ = imported(
            replace(dump(tmp_path, other, line(**{field: f"  {said}.\n"})), overwrite=True)
        )
        assert tally.left_out == ({"withdrawn": 1} if withdrawn else {})


# https://arxiv.org/category_taxonomy, and the archives that were merged into those.
ARCHIVES = (
    "astro-ph cond-mat cs econ eess gr-qc hep-ex hep-lat hep-ph hep-th math math-ph nlin nucl-ex "
    "nucl-th physics q-bio q-fin quant-ph stat acc-phys adap-org alg-geom ao-sci atom-ph bayes-an "
    "chao-dyn chem-ph cmp-lg comp-gas dg-ga funct-an mtrl-th patt-sol plasm-ph q-alg solv-int "
    "supr-con"
)


def test_every_archive_has_a_row_and_every_subject_is_a_class(repository: Path) -> None:
    subjects = paper_rows.load_subjects()
    assert set(subjects) == set(ARCHIVES.split())
    schema = (repository / "schema" / "schema.pbtxt").read_text()
    assert all(f'value: "{subject}"' in schema for subject in set(subjects.values()) - {""})


@pytest.mark.real
@pytest.mark.parametrize("name", ["arxiv_cleaned.parquet", "arxiv_more.parquet"])
def test_the_mapping_gives_every_reviewed_paper_its_subject(real_corpus: Path, name: str) -> None:
    path = real_corpus.with_name(name)
    if not path.is_file():
        pytest.skip(f"{name} is not in ../shared/data")
    table = pq.read_table(path, columns=["primary_category", "final_category"])
    subjects = paper_rows.load_subjects()
    pairs = set(zip(*(column.to_pylist() for column in table.columns), strict=True))
    assert len(pairs) > 100
    assert {
        (one, subject) for one, subject in pairs if subjects[one.split(".")[0]] != subject
    } == set()


def test_own_mapping_and_its_more_exact_rows(tmp_path: Path) -> None:
    mapping = tmp_path / "own.toml"
    mapping.write_text('[subjects]\nmath = "theory"\n"math.ST" = "data"\ncs = ""\n')
    lines = [line(id=one, categories=one) for one in ("math.CO", "math.ST", "math", "cs.LG")]
    tally, rows = imported(replace(dump(tmp_path, *lines), subjects=mapping))
    assert {row["id"]: row["final_category"] for row in rows} == {
        "math.CO": "theory", "math.ST": "data", "math": "theory",
    }  # fmt: skip
    assert tally.left_out == {"archive without a subject": 1}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"cs = ", "cannot be read as TOML"),
        (b"\xff", "cannot be read as TOML"),
        (b'cs = "computing"', "has no table [subjects]"),
        (b"[subjects]", "has no table [subjects]"),
        (b"subjects = 3", "has no table [subjects]"),
        (b"[subjects]\ncs = 3", "the subject of 'cs' is 3"),
        (b'[subjects]\ncs = "cs "', "the subject of 'cs' is 'cs '"),
        (b'[subjects]\nmath.ST = "x"', "the subject of 'math' is {'ST': 'x'}"),
    ],
)
def test_a_mapping_that_cannot_be_used_is_one_line(
    tmp_path: Path, content: bytes, said: str
) -> None:
    mapping = tmp_path / "own.toml"
    mapping.write_bytes(content)
    assert said in mistake(replace(dump(tmp_path, line()), subjects=mapping))


def test_plain_gzipped_and_zipped_dumps_are_equal_whatever_their_names(tmp_path: Path) -> None:
    request = dump(tmp_path, *(line(id=f"{n}", abstract="text " * n) for n in range(1, 300)))
    content = request.source.read_bytes()
    _, rows = imported(request)
    packed = tmp_path / "a.json"
    packed.write_bytes(gzip.compress(content[:5000]) + gzip.compress(content[5000:]))
    with zipfile.ZipFile(tmp_path / "b.gz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/", b"")
        archive.writestr("folder/dump.json", content)
        archive.writestr("__MACOSX/folder/._dump.json", b"\0\5\26\7")
        archive.writestr(".DS_Store", b"\0")
    for name in ("a.json", "b.gz"):
        assert imported(ImportRequest(tmp_path / name, tmp_path / f"{name}.parquet"))[1] == rows


def _two_members(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a\x1b[31m.json", line())
        archive.writestr("b.json", line())


def _encrypted(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.json", line())
    content = bytearray(path.read_bytes())
    for header, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + at] |= 1
    path.write_bytes(content)


def _damaged_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.json", line())
    path.write_bytes(path.read_bytes().replace(b"Person", b"Parson", 1))


_MANY = b"".join(line(id=f"{n}") + b"\n" for n in range(5000))
_SOURCES: dict[str, tuple[Any, str]] = {
    "missing": (str, "cannot be read (No such file or directory)"),
    "folder": (lambda path: path.mkdir(), "is a folder; name a regular file"),
    "fifo": (lambda path: os.mkfifo(path), "is a named pipe; name a regular file"),
    "dangling link": (lambda path: path.symlink_to("nowhere"), "which leads to nothing"),
    "link to itself": (lambda path: path.symlink_to("source"), "which leads to itself"),
    "parquet": (lambda path: pq.write_table(pa.table({"a": ["x"]}), path), "the pipeline reads"),
    "bzip2": (lambda path: path.write_bytes(bz2.compress(_MANY)), "is bzip2-compressed; give CSV"),
    "short gzip": (lambda path: path.write_bytes(gzip.compress(_MANY)[:-100]), "cut short"),
    "bad gzip": (lambda path: path.write_bytes(b"\x1f\x8b\x08" + b"x" * 500), "damaged"),
    "short zip": (lambda path: path.write_bytes(b"PK\x03\x04" + b"x" * 500), "damaged"),
    "bad zip": (_damaged_zip, "damaged"),
    "two members": (_two_members, "holds 2 files ('a\\x1b[31m.json', 'b.json')"),
    "encrypted": (_encrypted, "is encrypted, password required"),
    "empty": (lambda path: path.write_bytes(b""), "no row to import (it is empty)"),
    "blank": (lambda path: path.write_bytes(b"\n \n"), "no row to import (it is empty)"),
    "text": (lambda path: path.write_bytes(b"Dear all,\n"), "(the first: not JSON)"),
    "noise": (lambda path: path.write_bytes(random.Random(7).randbytes(9999)), "no dump of arXiv"),
    "other rows": (lambda path: path.write_bytes(b'{"text": "x"}\n'), "give --text and --label"),
    "UTF-16": (lambda path: path.write_bytes(line().decode().encode("utf-16")), "is UTF-16 text"),
    "array": (lambda path: path.write_bytes(b" [" + line() + b"]"), "is one JSON array"),
    "no paper left": (
        lambda path: path.write_bytes(line(abstract="") + b"\n"),
        "no row to import (no abstract: 1)",
    ),
}


@pytest.mark.parametrize("kind", _SOURCES)
def test_what_cannot_be_read_is_one_line_and_leaves_the_output(tmp_path: Path, kind: str) -> None:
    make, said = _SOURCES[kind]
    output = tmp_path / "papers.parquet"
    output.write_bytes(b"old")
    make(tmp_path / "source")
    message = mistake(ImportRequest(tmp_path / "source", output, overwrite=True))
    assert message.startswith((str(tmp_path / "source"), "source"))
    assert said in message
    assert output.read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} <= {"source", "papers.parquet"}


@pytest.mark.parametrize("method", [None, *range(4)])
def test_damage_anywhere_in_an_archive_is_one_line_or_does_no_harm(
    tmp_path: Path, method: int | None
) -> None:
    """Methods of zip members: stored, deflated, bzip2, LZMA; None: gzip."""
    content = b"".join(line(id=f"{number}") + b"\n" for number in range(30))
    path = tmp_path / "dump"
    if method is None:
        path.write_bytes(gzip.compress(content))
    else:
        methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
        with zipfile.ZipFile(path, "w", methods[method]) as archive:
            archive.writestr("é.json", content)
    whole, chance, refused = path.read_bytes(), random.Random(method), list[str]()
    for _ in range(25):
        damaged = bytearray(whole)
        for at in chance.choices([*range(4, 40), *range(len(whole) - 100, len(whole))], k=2):
            damaged[at] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            assert run(ImportRequest(path, tmp_path / "out", overwrite=True)).rows == 30
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 8
    assert not any("\n" in message for message in refused)


@pytest.mark.parametrize(
    ("first", "last", "kept"),
    [
        (date(2008, 1, 1), None, ["b", "c", "d"]),
        (None, date(2008, 1, 1), ["a", "b"]),
        (date(2008, 1, 1), date(2010, 12, 31), ["b", "c"]),
    ],
)
def test_dates_are_those_of_the_last_update_both_ends_included(
    tmp_path: Path, first: date | None, last: date | None, kept: list[str]
) -> None:
    dates = {"a": "2007-12-31", "b": "2008-01-01", "c": "2010-12-31", "d": "2011-01-01"}
    lines = [line(id=name, update_date=one) for name, one in dates.items()]
    lines += [line(id="e", update_date=None), line(id="f", update_date="2 Apr 2008")]
    tally, rows = imported(replace(dump(tmp_path, *lines), first=first, last=last))
    assert [row["id"] for row in rows] == kept
    assert tally.left_out == {"no date": 2, "outside the dates": 4 - len(kept)}


def test_a_sample_keeps_shares_and_depends_on_ids_and_seed_alone(tmp_path: Path) -> None:
    shares = {"cs": 700, "math": 255, "stat": 40, "econ": 5}
    lines = [
        line(id=f"{archive}{number}", categories=archive)
        for archive, count in shares.items()
        for number in range(count)
    ]
    request = replace(dump(tmp_path, *lines), limit=100)
    tally, rows = imported(request)
    # Exactly 70, 25.5, 4 and .5; of the two halves, the alphabetically first is rounded up.
    assert tally.classes == {"cs": 70, "math": 25, "stat": 4, "econ": 1}
    assert tally.left_out == {"not in the sample": 900}
    ids = {row["id"] for row in rows}
    random.Random(3).shuffle(lines)
    shuffled = replace(dump(tmp_path, *lines), limit=100, overwrite=True)
    assert {row["id"] for row in imported(shuffled)[1]} == ids
    other = imported(replace(shuffled, seed=1 + (1 << 130)))
    assert other[0].classes == tally.classes
    assert len({row["id"] for row in other[1]} - ids) > 50
    assert imported(replace(shuffled, limit=5000))[0].left_out == {}


def test_of_papers_with_one_id_the_first_is_kept_across_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_source, "BLOCK", 1000)
    lines = [line(id=f"{number % 40}", title=f"{number}") for number in range(100)]
    tally, rows = imported(dump(tmp_path, line(id="0", abstract=""), *lines))
    assert [row["title"] for row in rows] == [f"{number}" for number in range(40)]
    assert tally.left_out == {"no abstract": 1, "repeated id": 60}
    assert tally.first_lines["repeated id"] == [42, 43, 44]


def as_dump(table: pa.Table) -> list[bytes]:
    """Lines of a dump that holds the papers of a corpus."""
    lines = []
    for row in table.to_pylist():
        categories = f"{row.pop('primary_category')} math.CO"
        del row["final_category"]
        lines.append(json.dumps({**row, "categories": categories}).encode())
    return lines


def test_a_corpus_comes_back_from_its_dump_row_by_row(tmp_path: Path) -> None:
    made = sample.make_sample(tmp_path / "sample", 2500, seed=5).corpus
    table = pq.read_table(made)
    tally, rows = imported(dump(tmp_path, *as_dump(table)))
    expected, ids = [], set()
    subjects = paper_rows.load_subjects()
    for row in table.to_pylist():
        if row["abstract"] is not None and row["id"] not in ids:
            ids.add(row["id"])
            # The sample lacks some labels on purpose.
            subject = subjects[row["primary_category"].split(".")[0]]
            assert row["final_category"] in (subject, None)
            expected.append({**row, "final_category": subject})
    assert len(expected) > 2400
    assert rows == expected
    assert set(tally.left_out) == {"no abstract", "repeated id"}


def test_an_output_is_kept_unless_it_is_told_to_go(tmp_path: Path) -> None:
    request = dump(tmp_path, line(id="1"), line(id="2"))
    run(request)
    before = request.output.stat().st_mtime_ns
    assert run(request) is None
    assert request.output.stat().st_mtime_ns == before
    for changed in (replace(request, limit=1), replace(request, first=date(2000, 1, 1))):
        assert "exists, and was not made from this file" in mistake(changed)
    assert run(replace(request, limit=1, overwrite=True)).classes == {"math": 1}
    assert "exists, and was not made from this file" in mistake(request)
    grown = dump(tmp_path, line(id="1"), line(id="2"), line(id="3"))
    assert "exists, and was not made from this file" in mistake(grown)
    request.output.write_bytes(b"something else")
    assert "exists, and was not made from this file" in mistake(request)
    for output in (tmp_path, request.source, Path("/dev/null")):
        assert "not a regular file, or the source" in mistake(
            replace(request, output=output, overwrite=True)
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "limit"), [(signal.SIGKILL, None), (signal.SIGKILL, 100), (signal.SIGINT, None)]
)
def test_a_stopped_import_leaves_the_old_output_and_the_next_one_tidies_up(
    tmp_path: Path, number: signal.Signals, limit: int | None
) -> None:
    request = dump(tmp_path, line(id="old"))
    run(request)
    old = request.output.read_bytes()
    request = dump(tmp_path, *(line(id=f"{n}", abstract="text " * 200) for n in range(60_000)))
    command = [sys.executable, "-m", "pipeline", "import", request.source, "-o", request.output]
    options = ["--overwrite", *(["--limit", str(limit)] if limit else [])]
    process = subprocess.Popen([*map(str, command), *options], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".papers.parquet.*.tmp")) and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        process.send_signal(number)
        errors = process.communicate()[1]
    killed = number == signal.SIGKILL
    assert process.returncode == (-number if killed else 130), errors
    assert bool(list(tmp_path.glob(".papers.parquet.*.tmp"))) == killed
    assert "Traceback" not in errors
    assert request.output.read_bytes() == old
    tally, _ = imported(replace(request, limit=limit, overwrite=True))
    assert tally.classes.total() == limit or 60_000
    assert list(tmp_path.glob(".*")) == []
