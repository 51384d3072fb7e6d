"""No reader runs the code that a parquet file holds (CVE-2023-47248); each refuses it in a line."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components.arrow import open_parquet, pa, pq
from components.contracts import predictions
from components.errors import UserError
from components.ingestion import parquet_source
from pipeline import doctor
from pipeline.client.batch import parts, plan
from pipeline.client.batch.model import ModelVersion
from pipeline.client.cli import inputs
from pipeline.client.errors import BadInputError
from pipeline.doctor import Health

MARKER = "CODE_RAN"
COLUMNS = ("id", "abstract", "final_category", "update_date")


class Payload:
    """What a hostile file would run: makes a file beside it."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> object:
        return (open, (self.marker, "a"))


def _table(metadata: dict[bytes, bytes], place: str) -> pa.Table:
    """Two papers; the metadata stand on a column that is read, on another, or inside one."""
    fields = {name: pa.field(name, pa.string()) for name in COLUMNS}
    arrays = {name: pa.array(["x", "y"]) for name in COLUMNS}
    if place == "read":
        fields["abstract"] = pa.field("abstract", pa.string(), metadata=metadata)
    elif place == "other":
        fields["notes"] = pa.field("notes", pa.string(), metadata=metadata)
        arrays["notes"] = pa.array(["x", "y"])
    else:
        inner = pa.struct([pa.field("name", pa.string(), metadata=metadata)])
        fields["authors"] = pa.field("authors", pa.list_(inner))
        arrays["authors"] = pa.array([[{"name": "x"}], []], pa.list_(inner))
    return pa.table(list(arrays.values()), schema=pa.schema(list(fields.values())))


@pytest.fixture(params=["read", "other", "nested"])
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["pickle", "no pickle", "empty"])
def hostile(request: pytest.FixtureRequest, place: str, tmp_path: Path) -> Path:
    """A parquet file whose schema holds a pickled Python type, or something that is none."""
    payloads = {
        "pickle": pickle.dumps(Payload(tmp_path / MARKER)),
        "no pickle": b"\x80\x04not a pickle",
        "empty": b"",
    }
    metadata = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": payloads[request.param],
    }
    path = tmp_path / "hostile.parquet"
    pq.write_table(_table(metadata, place), path)
    return path


def _read_with_client(path: Path) -> None:
    list(inputs.read_file(str(path), "auto", inputs.Fields(("abstract",), "id", 1000)))


def _check_with_doctor(path: Path) -> None:
    finding = doctor.check_parquet(path)
    if finding.health is Health.BROKEN:
        raise UserError(finding.text)


def _plan_batch(path: Path) -> None:
    model = ModelVersion("/models/1", "1", "digest")
    plan.plan(str(path), plan.Columns("id", ("abstract",)), 10, model, path.parent / "out")


def _read_batch(path: Path) -> None:
    shard = plan.Shard("part", str(path), 0, 2)
    plan.read_rows(shard, plan.Columns("id", ("abstract",)))


def _read_row_group(path: Path) -> None:
    reader = parquet_source.RowGroupReader()
    list(reader.batches(parquet_source.RowGroup(str(path), 0, 2)))


READERS: dict[str, Callable[[Path], object]] = {
    "ingestion, footer": lambda path: parquet_source.find_row_groups(str(path)),
    "ingestion, rows": _read_row_group,
    "doctor": _check_with_doctor,
    "arxiv-classify --file": _read_with_client,
    "batch, footer": _plan_batch,
    "batch, rows": _read_batch,
    "report": predictions.read_scores,
    "batch, parts": lambda path: parts._column(path, "label"),
}


@pytest.mark.parametrize("reader", READERS)
def test_code_in_a_file_is_refused_in_one_line(reader: str, hostile: Path) -> None:
    with pytest.raises((UserError, BadInputError)) as refused:
        READERS[reader](hostile)
    message = str(refused.value)
    assert message.startswith(str(hostile))
    assert "its schema holds a pickled Python type" in message
    assert len(message.splitlines()) == 1
    assert not (hostile.parent / MARKER).exists()


def test_marker_shows_that_the_file_would_run_code(tmp_path: Path) -> None:
    """Guards the tests above: unprotected pyarrow does run the payload."""
    metadata = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Payload(tmp_path / MARKER)),
    }
    pq.write_table(_table(metadata, "other"), tmp_path / "hostile.parquet")
    code = "import sys, pyarrow.parquet as pq; pq.ParquetFile(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", code, tmp_path / "hostile.parquet"], capture_output=True, check=False
    )
    assert (tmp_path / MARKER).exists()


@pytest.mark.parametrize("command", ["doctor", "classify"])
def test_commands_refuse_it_in_a_fresh_process(command: str, tmp_path: Path) -> None:
    """In a process that has not imported Beam, which brings the hotfix along."""
    metadata = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Payload(tmp_path / MARKER)),
    }
    path = tmp_path / "hostile.parquet"
    pq.write_table(_table(metadata, "other"), path)
    arguments = {
        "doctor": [
            "-c",
            "import sys, pathlib; from pipeline import doctor; "
            "found = doctor.check_parquet(pathlib.Path(sys.argv[1])); sys.exit(found.text)",
            str(path),
        ],
        "classify": [
            "-c",
            "from pipeline.client.cli.main import main; main()",
            *("--file", str(path), "--url", "http://127.0.0.1:9"),
        ],
    }[command]
    environment = {**os.environ, "COLUMNS": "400"}
    ended = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    assert ended.returncode != 0
    assert "its schema holds a pickled Python type" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / MARKER).exists()


def test_metadata_of_a_registered_type_that_do_not_parse_end_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("pandas.core.arrays.arrow.extension_types")
    metadata = {
        b"ARROW:extension:name": b"pandas.period",
        b"ARROW:extension:metadata": b"\xff{",
    }
    path = tmp_path / "period.parquet"
    pq.write_table(_table(metadata, "other"), path)
    with (
        pytest.raises(UserError, match=r"period\.parquet: cannot be read as parquet \("),
        open_parquet(str(path)),
    ):
        pass


def test_damaged_pages_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "papers.parquet"
    table = pa.table({"abstract": [f"{n} words of a paper" for n in range(2000)]})
    pq.write_table(table, path, compression="snappy", use_dictionary=False)
    column = pq.read_metadata(path).row_group(0).column(0)
    raw = bytearray(path.read_bytes())
    middle = column.data_page_offset + column.total_compressed_size // 2
    raw[middle : middle + 64] = bytes(byte ^ 0x5A for byte in raw[middle : middle + 64])
    path.write_bytes(raw)
    with (
        pytest.raises(UserError, match=r"papers\.parquet: cannot be read as parquet"),
        open_parquet(str(path)) as file,
    ):
        file.read()


def test_names_from_files_reach_no_terminal_raw(tmp_path: Path) -> None:
    path = tmp_path / "papers.parquet"
    pq.write_table(pa.table({"bad\x1b[31mname": ["x"]}), path)
    with pytest.raises(UserError) as refused:
        parquet_source.find_row_groups(str(path))
    assert r"bad\x1b[31mname" in str(refused.value)
    assert "\x1b" not in str(refused.value)
