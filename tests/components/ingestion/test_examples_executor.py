import json
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from apache_beam.testing.test_pipeline import TestPipeline
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx.components.statistics_gen.executor import Executor as StatisticsGenExecutor
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts

from components.arrow import pa, pq
from components.contracts.columns import ARXIV
from components.errors import UserError
from components.ingestion.cache_key_driver import content_fingerprint
from components.ingestion.examples_executor import Executor
from components.ingestion.node import ParquetExampleGen
from components.text.cleaning import clean_python

SHARES = {"train": 0.64, "eval": 0.16, "test": 0.2}

Example = tuple[tuple[str, bytes], ...]

# Beam's class is no test case.
TestPipeline.__test__ = False


def papers() -> list[dict[str, Any]]:
    """Rows of three classes, with every defect that is counted."""
    labels = ["cs"] * 5 + ["math"] * 4 + ["econ"]
    rows = [
        {
            "id": f"p{i}",
            "abstract": f"Paper number {i} on $x_{i}$",
            "final_category": labels[i % 10],
            "update_date": f"20{10 + i % 10}-01-{1 + i % 28:02d}",
            "authors_parsed": [["A", "B", ""]],
        }
        for i in range(400)
    ]
    rows[0]["abstract"] = None
    rows[1]["abstract"] = " \n"
    rows[2]["final_category"] = None
    rows[3]["id"] = None
    rows[4]["update_date"] = "yesterday"
    rows[5]["update_date"] = None
    # The same paper twice; the later one stays.
    rows[10] |= {"id": "twice", "update_date": "2001-01-01", "abstract": "Older."}
    rows[20] |= {"id": "twice", "update_date": "2002-01-01", "abstract": "Newer."}
    # One text under two labels: three rows, two of them equal after cleaning only.
    rows[30] |= {"abstract": "Same words", "final_category": "cs"}
    rows[40] |= {"abstract": "SAME   words!", "final_category": "math"}
    rows[50] |= {"abstract": "same words $y$", "final_category": "math"}
    # Nothing left after cleaning.
    rows[60]["abstract"] = "$z$ ..."
    return rows


def write(path: Path, rows: list[dict[str, Any]], row_group_size: int = 70) -> Path:
    schema = pa.schema(
        [
            ("authors_parsed", pa.list_(pa.list_(pa.string()))),
            *((name, pa.string()) for name in (*ARXIV.required, *ARXIV.optional)),
        ]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=row_group_size)
    return path


def properties(pattern: Path | str, seed: int = 0) -> dict[str, Any]:
    """Returns the execution properties as the executor gets them."""
    node = ParquetExampleGen(str(pattern), SHARES, fingerprint="f", seed=seed)
    return dict(node.exec_properties)


def ingest(
    pattern: Path | str, folder: Path, *arguments: str, seed: int = 0
) -> standard_artifacts.Examples:
    examples = standard_artifacts.Examples()
    examples.uri = str(folder / "examples")
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=list(arguments),
        tmp_dir=str(folder / "tmp"),
        unique_id="1",
    )
    Executor(context).Do({}, {"examples": [examples]}, properties(pattern, seed))
    return examples


def parse(record: bytes) -> Example:
    feature = tf.train.Example.FromString(record).features.feature
    return tuple(
        sorted(
            (key, value.bytes_list.value[0]) for key, value in feature.items() if value.ByteSize()
        )
    )


def read(examples: standard_artifacts.Examples) -> dict[str, list[Example]]:
    result = {}
    for name in artifact_utils.decode_split_names(examples.split_names):
        files = sorted(Path(artifact_utils.get_split_uri([examples], name)).iterdir())
        records = tf.data.TFRecordDataset([str(f) for f in files], compression_type="GZIP")
        result[name] = [parse(record) for record in records.as_numpy_iterator()]
    return result


def as_sets(splits: dict[str, list[Example]]) -> dict[str, Counter[Example]]:
    return {name: Counter(rows) for name, rows in splits.items()}


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> standard_artifacts.Examples:
    folder = tmp_path_factory.mktemp("ingested")
    return ingest(write(folder / "papers.parquet", papers()), folder)


def test_counts_are_in_the_folder_and_on_the_artifact(
    ingested: standard_artifacts.Examples,
) -> None:
    counts = json.loads((Path(ingested.uri) / "ingestion.json").read_text())
    splits = counts.pop("splits")
    words = counts.pop("words")
    assert counts.pop("unreadable_date") == "yesterday"
    assert counts.pop("date_column") == "update_date"
    kept = [
        clean_python(dict(row)["abstract"].decode())
        for rows in read(ingested).values()
        for row in rows
    ]
    assert words == {str(n): k for n, k in sorted(Counter(len(t.split()) for t in kept).items())}
    assert counts == {
        "files": 1,
        "rows_read": 400,
        "dropped_without_abstract": 2,
        "dropped_without_label": 1,
        "dropped_duplicate_ids": 1,
        "rows_kept": 396,
        "rows_without_id": 1,
        "unreadable_dates": 1,
        "padded_labels": 0,
        "cleaned_to_nothing": 1,
        "duplicate_texts": 2,
        "conflicting_texts": 1,
        "conflicting_rows": 3,
    }
    found = {
        name: Counter(dict(row)["final_category"].decode() for row in rows)
        for name, rows in read(ingested).items()
    }
    assert splits == found
    for name, n in counts.items():
        assert ingested.get_int_custom_property(name) == n
    assert ingested.get_int_custom_property("rows_train") == sum(splits["train"].values())


def test_examples_hold_the_raw_columns_and_nothing_else(
    ingested: standard_artifacts.Examples,
) -> None:
    rows = [dict(row) for part in read(ingested).values() for row in part]
    by_id = {row.get("id"): row for row in rows}
    assert by_id[b"p7"] == {
        "id": b"p7",
        "abstract": b"Paper number 7 on $x_7$",
        "final_category": b"math",
        "update_date": b"2017-01-08",
    }
    assert by_id[b"twice"]["abstract"] == b"Newer."
    assert "update_date" not in by_id[b"p4"]
    assert "update_date" not in by_id[b"p5"]
    assert by_id[None]["abstract"] == b"Paper number 3 on $x_3$"
    assert {b"p0", b"p1", b"p2"}.isdisjoint(by_id)


def test_shares_hold_for_each_class_and_no_text_is_in_two_splits(
    ingested: standard_artifacts.Examples,
) -> None:
    splits = read(ingested)
    check_promises({name: [dict(row) for row in rows] for name, rows in splits.items()}, slack=3)


def check_promises(splits: dict[str, list[dict[str, bytes]]], slack: int = 1) -> None:
    """Checks the class shares (0.5 points, or ``slack`` rows) and that no text is in two splits."""
    labels = {
        name: Counter(row["final_category"].decode() for row in rows)
        for name, rows in splits.items()
    }
    total = sum(labels.values(), Counter())
    everything = sum(total.values())
    for name, share in SHARES.items():
        size = sum(labels[name].values())
        for label, n in total.items():
            # Of the class, in this split; and of this split, in the class.
            assert abs(labels[name][label] - share * n) <= max(0.005 * n, slack)
            assert abs(labels[name][label] / size - n / everything) <= max(0.005, slack / size)
    where = defaultdict(set)
    for name, rows in splits.items():
        for row in rows:
            where[clean_python(row["abstract"].decode())].add(name)
    assert all(len(names) == 1 for names in where.values())


def test_a_rerun_gives_the_same_records_in_the_same_order(
    ingested: standard_artifacts.Examples, tmp_path: Path
) -> None:
    again = ingest(write(tmp_path / "papers.parquet", papers()), tmp_path)
    assert read(again) == read(ingested)


def test_another_seed_puts_the_same_papers_elsewhere(
    ingested: standard_artifacts.Examples, tmp_path: Path
) -> None:
    again = ingest(write(tmp_path / "papers.parquet", papers()), tmp_path, seed=2**31 - 1)
    mine, other = as_sets(read(again)), as_sets(read(ingested))
    assert sum(mine.values(), Counter()) == sum(other.values(), Counter())
    # By chance, .64 of the train papers are train papers again.
    assert sum((mine["train"] & other["train"]).values()) < 0.8 * sum(other["train"].values())
    check_promises({name: list(map(dict, rows)) for name, rows in read(again).items()}, slack=3)


def test_files_row_order_and_row_groups_change_nothing(
    ingested: standard_artifacts.Examples, tmp_path: Path
) -> None:
    rows = papers()[::-1]
    for name, part in (("b", rows[:150]), ("a", rows[150:151]), ("c", rows[151:])):
        write(tmp_path / f"{name}.parquet", part, row_group_size=1000)
    again = ingest(tmp_path / "*.parquet", tmp_path)
    assert as_sets(read(again)) == as_sets(read(ingested))
    assert again.get_int_custom_property("files") == 3


def test_two_workers_give_the_same_splits(
    ingested: standard_artifacts.Examples, tmp_path: Path
) -> None:
    again = ingest(
        write(tmp_path / "papers.parquet", papers()),
        tmp_path,
        "--direct_running_mode=multi_threading",
        "--direct_num_workers=2",
        # Without it, TFX packages itself for remote workers, which takes seconds.
        "--sdk_container_image=none",
    )
    assert as_sets(read(again)) == as_sets(read(ingested))
    assert (Path(again.uri) / "ingestion.json").read_text() == (
        Path(ingested.uri) / "ingestion.json"
    ).read_text()


def test_statistics_gen_reads_the_artifact(
    ingested: standard_artifacts.Examples, tmp_path: Path
) -> None:
    assert examples_utils.get_payload_format(ingested) == example_gen_pb2.FORMAT_TF_EXAMPLE
    statistics = standard_artifacts.ExampleStatistics()
    statistics.uri = str(tmp_path / "statistics")
    context = BaseBeamExecutor.Context(beam_pipeline_args=[], tmp_dir=str(tmp_path))
    StatisticsGenExecutor(context).Do(
        {"examples": [ingested]}, {"statistics": [statistics]}, {"exclude_splits": "[]"}
    )
    assert {path.name for path in Path(statistics.uri).iterdir()} == {
        "Split-train",
        "Split-eval",
        "Split-test",
    }


def test_unicode_forms_of_a_text_share_a_split(tmp_path: Path) -> None:
    rows = [
        {
            "id": f"{form}{number}",
            "abstract": unicodedata.normalize(form, f"Erdős, Poincaré and ﬁeld {number}"),
            "final_category": "math",
            "update_date": "2024-01-01",
        }
        for number in range(60)
        for form in ("NFC", "NFD", "NFKC", "NFKD")
    ]
    splits = read(ingest(write(tmp_path / "papers.parquet", rows), tmp_path))
    found: dict[str, set[str]] = defaultdict(set)
    for name, examples in splits.items():
        for example in examples:
            found[dict(example)["id"].decode().lstrip("NFKCD")].add(name)
    assert len(found) == 60
    assert all(len(names) == 1 for names in found.values())
    assert {name for names in found.values() for name in names} == set(SHARES)


def test_no_matching_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none-\*\.parquet: no file matches"):
        ingest(tmp_path / "none-*.parquet", tmp_path)
    with pytest.raises(UserError, match=r"nowhere/x\.parquet': no such file"):
        ingest(tmp_path / "nowhere" / "x.parquet", tmp_path)


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", papers()[100:140])
    (tmp_path / "b.parquet").write_text("id,abstract\n1,x\n")
    with pytest.raises(UserError, match=r"b\.parquet: cannot be read as parquet") as error:
        ingest(tmp_path / "*.parquet", tmp_path)
    assert "\n" not in str(error.value)


def test_a_wrong_column_in_one_of_several_files_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", papers()[100:140])
    wrong = pq.read_table(tmp_path / "a.parquet").to_pandas()
    wrong["abstract"] = 1
    pq.write_table(pa.Table.from_pandas(wrong), tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"b\.parquet: column 'abstract' has type int64"):
        ingest(tmp_path / "*.parquet", tmp_path)
    pq.write_table(
        pq.read_table(tmp_path / "a.parquet").drop(["update_date"]), tmp_path / "b.parquet"
    )
    with pytest.raises(UserError, match=r"b\.parquet: no column 'update_date'; it has"):
        ingest(tmp_path / "*.parquet", tmp_path)


def test_nothing_left_and_an_empty_split_are_errors(tmp_path: Path) -> None:
    empty = [row | {"abstract": None} for row in papers()[100:105]]
    with pytest.raises(UserError, match="no row is left of 5 read"):
        ingest(write(tmp_path / "empty.parquet", empty), tmp_path)
    with pytest.raises(UserError, match="no row is left of 0 read"):
        ingest(write(tmp_path / "none.parquet", []), tmp_path)
    with pytest.raises(UserError, match="split 'eval' is empty, since only 1 rows are left of 1"):
        ingest(write(tmp_path / "one.parquet", papers()[7:8]), tmp_path)


@pytest.mark.real
def test_promises_on_the_real_corpus(real_corpus: Path, tmp_path: Path) -> None:
    examples = ingest(real_corpus, tmp_path)
    splits = {name: [dict(row) for row in rows] for name, rows in read(examples).items()}
    assert sum(len(rows) for rows in splits.values()) == 39_440
    check_promises(splits)


def run_twice_and_once_edited(root: Path, pattern: Path) -> list[list[str]]:
    """Runs the node alone: twice, then with another code fingerprint; returns the states so far."""
    metadata = sqlite_metadata_connection_config(str(root / "metadata.db"))
    states = []
    for fingerprint in ("one", "one", "two"):
        LocalDagRunner().run(
            Pipeline(
                pipeline_name="ingestion",
                pipeline_root=str(root / "root"),
                metadata_connection_config=metadata,
                components=[ParquetExampleGen(str(pattern), SHARES, fingerprint)],
                enable_cache=True,
            )
        )
        executions = MetadataStore(metadata).get_executions()
        states.append(
            [
                metadata_store_pb2.Execution.State.Name(execution.last_known_state)
                for execution in sorted(executions, key=lambda execution: execution.id)
            ]
        )
    return states


def test_a_run_is_cached_until_the_code_changes_and_its_counts_are_in_the_metadata(
    tmp_path: Path,
) -> None:
    states = run_twice_and_once_edited(
        tmp_path, write(tmp_path / "papers.parquet", papers()[100:140])
    )
    assert states == [
        ["COMPLETE"],
        ["COMPLETE", "CACHED"],
        ["COMPLETE", "CACHED", "COMPLETE"],
    ]
    store = MetadataStore(sqlite_metadata_connection_config(str(tmp_path / "metadata.db")))
    artifacts = store.get_artifacts_by_type("Examples")
    assert len(artifacts) == 2
    for artifact in artifacts:
        properties = artifact.custom_properties
        assert properties["rows_kept"].int_value == 40
        assert properties["span"].int_value == 0
        assert properties["payload_format"].string_value == "FORMAT_TF_EXAMPLE"
        expected = content_fingerprint(str(tmp_path / "papers.parquet"))
        assert properties["input_fingerprint"].string_value == expected
        assert (Path(artifact.uri) / "ingestion.json").is_file()
