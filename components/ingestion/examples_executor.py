"""Beam wiring of ParquetExampleGen; the logic is in ``splits`` and ``columns``.

The source is read twice. The first pass keeps some 50 bytes of keys per row, which are grouped by
id, then by text, to assign splits. The second pass reads the abstracts and writes them straight to
their files. Abstracts are never shuffled, so memory does not grow with their length.
"""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from apache_beam import coders
from apache_beam.io import filebasedsink
from apache_beam.transforms import util
from google.protobuf import struct_pb2
from tfx import types
from tfx.components.example_gen import base_example_gen_executor, utils, write_split
from tfx.components.util import examples_utils
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils
from tfx_bsl.coders import example_coder

from components.arrow import pa
from components.contracts import artifact_files
from components.contracts.columns import Columns
from components.contracts.ingestion_summary import IngestionSummary
from components.ingestion import columns, parquet_source, row_counts, splits
from components.ingestion.row_counts import IN_SPLIT, UNREADABLE_DATE, WITH_WORDS
from components.text import cleaning

_LOG = logging.getLogger(__name__)

# Parts of the key tables; each must fit in a worker's memory (50 bytes per row).
_BUCKETS = 32

# Tags of a DoFn's outputs: ((name, label), rows) counts, and key tables.
_COUNTS = "counts"
_KEYS = "keys"

SEED = "seed"
COLUMNS = "columns"
"""Keys of the custom configuration: the splits' seed, and the columns as JSON."""

Count = tuple[tuple[str, str], int]


def _counted(**counts: int) -> Iterator[beam.pvalue.TaggedOutput]:
    for name, rows in counts.items():
        yield beam.pvalue.TaggedOutput(_COUNTS, ((name, ""), rows))


def _packed_parts(keys: pa.Table, buckets: splits.Ints) -> Iterator[tuple[int, bytes]]:
    for bucket, part in splits.partition(keys, buckets):
        yield bucket, splits.packed(part)


class _ReadKeys(beam.DoFn):  # type: ignore[misc]
    """(number, row group) -> (id bucket, packed key table), and counts."""

    def __init__(self, names: Columns, seed: int):
        self._names = names
        self._seed = seed

    def setup(self) -> None:
        self._reader = parquet_source.RowGroupReader(self._names)

    def process(self, element: tuple[int, parquet_source.RowGroup]) -> Iterator[Any]:
        number, row_group = element
        first_row = 0
        for raw in self._reader.batches(row_group):
            batch, unreadable_dates, unreadable_date, padded_labels = columns.canonical(
                raw, self._names
            )
            keyed = splits.row_keys(batch, number, first_row, cleaning.clean_bytes, self._seed)
            first_row += len(batch)
            yield from _packed_parts(keyed.keys, splits.id_buckets(keyed.keys, _BUCKETS))
            yield from _counted(
                rows_read=len(batch),
                dropped_without_abstract=keyed.without_abstract,
                dropped_without_label=keyed.without_label,
                rows_without_id=keyed.without_id,
                cleaned_to_nothing=keyed.cleaned_to_nothing,
                unreadable_dates=unreadable_dates,
                padded_labels=padded_labels,
            )
            if unreadable_date:
                yield beam.pvalue.TaggedOutput(_COUNTS, ((UNREADABLE_DATE, unreadable_date), 1))


class _DropDuplicateIds(beam.DoFn):  # type: ignore[misc]
    """(id bucket, packed key tables) -> (text bucket, packed key table), and counts."""

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
        keys = splits.unpacked(element[1], splits.KEYS)
        kept = splits.drop_duplicate_ids(keys)
        yield from _packed_parts(kept, splits.text_buckets(kept, _BUCKETS))
        yield from _counted(dropped_duplicate_ids=len(keys) - len(kept))


class _GroupTexts(beam.DoFn):  # type: ignore[misc]
    """(text bucket, packed key tables) -> packed key table with strata, and counts."""

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
        grouped = splits.group_texts(splits.unpacked(element[1], splits.KEYS))
        yield splits.packed(grouped.keys)
        yield from _counted(
            duplicate_texts=grouped.duplicate_texts,
            conflicting_texts=grouped.conflicting_texts,
            conflicting_rows=grouped.conflicting_rows,
        )


class _Assign(beam.DoFn):  # type: ignore[misc]
    """Packed key table with strata -> (row group number, (rows, splits)), and counts."""

    def __init__(self, split_names: list[str]):
        self._split_names = split_names

    def process(self, element: bytes, cuts: Mapping[str, splits.Ints]) -> Iterator[Any]:
        keys = splits.unpacked([element], splits.GROUPED)
        chosen = splits.assign(keys, cuts)
        table = keys.append_column("split", pa.array(chosen.astype(np.int8)))
        for number, part in splits.partition(table, table["row_group"].to_numpy()):
            yield number, (part["row"].to_numpy(), part["split"].to_numpy())
        by_label = table.group_by(["split", "label"]).aggregate([("row", "count")]).to_pylist()
        for group in by_label:
            name = IN_SPLIT + self._split_names[group["split"]]
            yield beam.pvalue.TaggedOutput(_COUNTS, ((name, group["label"]), group["row_count"]))
        by_length = table.group_by("words").aggregate([("row", "count")]).to_pylist()
        for group in by_length:
            yield beam.pvalue.TaggedOutput(
                _COUNTS, ((WITH_WORDS, str(group["words"])), group["row_count"])
            )


class _ReadExamples(beam.DoFn):  # type: ignore[misc]
    """(row group number, [(rows, splits)]) -> batches of examples, tagged with their split."""

    def __init__(
        self, names: Columns, row_groups: list[parquet_source.RowGroup], split_names: list[str]
    ):
        self._names = names
        self._row_groups = row_groups
        self._split_names = split_names

    def setup(self) -> None:
        self._reader = parquet_source.RowGroupReader(self._names)
        self._encoder = example_coder.RecordBatchToExamplesEncoder()

    def process(
        self, element: tuple[int, Iterable[tuple[npt.NDArray[np.int32], npt.NDArray[np.int8]]]]
    ) -> Iterator[beam.pvalue.TaggedOutput]:
        number, parts = element
        row_group = self._row_groups[number]
        splits = np.full(row_group.rows, -1, np.int8)
        for rows, chosen in parts:
            splits[rows] = chosen
        first_row = 0
        for raw in self._reader.batches(row_group):
            here = splits[first_row : first_row + len(raw)]
            first_row += len(raw)
            batch = columns.canonical(raw, self._names).batch
            examples = self._encoder.encode(columns.as_feature_lists(batch, self._names))
            for index, name in enumerate(self._split_names):
                chosen = np.flatnonzero(here == index).tolist()
                if chosen:
                    yield beam.pvalue.TaggedOutput(name, [examples[row] for row in chosen])


class _TFRecordSink(filebasedsink.FileBasedSink):  # type: ignore[misc]
    """Writes batches of serialized examples as gzipped TFRecords, one stream per shard.

    Beam's own sink writes single records at zlib's default level, which takes four times the CPU
    time of level 1 for files that are a sixth smaller.
    """

    def __init__(self, file_path_prefix: str):
        super().__init__(file_path_prefix, coders.BytesCoder(), file_name_suffix=".gz")

    def open(self, temp_path: str) -> tf.io.TFRecordWriter:
        options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)
        return tf.io.TFRecordWriter(temp_path, options)

    def write_record(self, file_handle: tf.io.TFRecordWriter, value: list[bytes]) -> None:
        for example in value:
            file_handle.write(example)


def _write_summary(counts: Iterable[Count], path: str, files: int, job: _Job) -> None:
    summary = row_counts.summarize(counts, files, job.split_names)
    summary = summary.model_copy(update={"date_column": job.columns.date})
    with fileio.open(path, "w") as file:
        file.write(summary.to_json())


class _Job(NamedTuple):
    """What the node is to do: the input and its columns; names, shares and seed of the splits."""

    pattern: str
    columns: Columns
    split_names: list[str]
    shares: list[float]
    seed: int


def _parse(exec_properties: Mapping[str, Any]) -> _Job:
    inputs, outputs = example_gen_pb2.Input(), example_gen_pb2.Output()
    custom, settings = example_gen_pb2.CustomConfig(), struct_pb2.Struct()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.INPUT_CONFIG_KEY], inputs)
    proto_utils.json_to_proto(exec_properties[standard_component_specs.OUTPUT_CONFIG_KEY], outputs)
    proto_utils.json_to_proto(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY], custom)
    custom.custom_config.Unpack(settings)
    base = exec_properties[standard_component_specs.INPUT_BASE_KEY]
    sizes = [part.hash_buckets for part in outputs.split_config.splits]
    return _Job(
        posixpath.join(base, inputs.splits[0].pattern),
        Columns.model_validate_json(settings[COLUMNS]),
        utils.generate_output_split_names(inputs, outputs),
        [size / sum(sizes) for size in sizes],
        int(settings[SEED]),
    )


class Executor(base_example_gen_executor.BaseExampleGenExecutor):  # type: ignore[misc]
    """Runs ParquetExampleGen."""

    def GetInputSourceToExamplePTransform(self) -> beam.PTransform:  # noqa: N802
        """Not used: the base class would split rows one at a time, which cannot work here."""
        raise NotImplementedError("see Do")

    def _example_batches(
        self,
        pipeline: beam.Pipeline,
        exec_properties: dict[str, Any],
        summary_path: str | None = None,
    ) -> dict[str, beam.PCollection]:
        """Returns {split name: lists of serialized tf.Examples}; writes the summary to the path."""
        job = _parse(exec_properties)
        split_names = job.split_names
        row_groups = parquet_source.find_row_groups(job.pattern, job.columns)

        keys, read_counts = (
            pipeline
            | "RowGroups" >> beam.Create(list(enumerate(row_groups)))
            | "SpreadRowGroups" >> util.ReshufflePerKey()
            | "ReadKeys"
            >> beam.ParDo(_ReadKeys(job.columns, job.seed)).with_outputs(_COUNTS, main=_KEYS)
        )
        unique, id_counts = (
            keys
            | "GroupById" >> beam.GroupByKey()
            | "DropDuplicateIds"
            >> beam.ParDo(_DropDuplicateIds()).with_outputs(_COUNTS, main=_KEYS)
        )
        grouped, text_counts = (
            unique
            | "GroupByText" >> beam.GroupByKey()
            | "Stratify" >> beam.ParDo(_GroupTexts()).with_outputs(_COUNTS, main=_KEYS)
        )
        cuts = (
            grouped
            | "Histograms"
            >> beam.FlatMap(
                lambda part: splits.histograms(splits.unpacked([part], splits.GROUPED)).items()
            )
            | "AddHistograms" >> beam.CombinePerKey(splits.merge_histograms)
            | "CutStrata"
            >> beam.MapTuple(lambda name, total: (name, splits.cut(total, job.shares)))
        )
        assigned, split_counts = grouped | "AssignSplits" >> beam.ParDo(
            _Assign(split_names), beam.pvalue.AsDict(cuts)
        ).with_outputs(_COUNTS, main=_KEYS)
        examples = (
            assigned
            | "GroupByRowGroup" >> beam.GroupByKey()
            | "ReadExamples"
            >> beam.ParDo(_ReadExamples(job.columns, row_groups, split_names)).with_outputs(
                *split_names
            )
        )

        if summary_path is not None:
            _ = (
                (read_counts, id_counts, text_counts, split_counts)
                | "AllCounts" >> beam.Flatten()
                | "AddCounts" >> beam.CombinePerKey(sum)
                | "CollectCounts" >> beam.combiners.ToList()
                | "WriteSummary"
                >> beam.Map(
                    _write_summary,
                    path=summary_path,
                    files=len({row_group.path for row_group in row_groups}),
                    job=job,
                )
            )
        return {name: examples[name] for name in split_names}

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the splits as gzipped TFRecords of tf.Examples, and ``ingestion.json``.

        The base class would shuffle the examples by random keys before writing, which holds them
        all in memory in random order. Here they are already distributed.

        Args:
            input_dict: unused.
            output_dict: ``examples``, one artifact; its split names, format and counts are set.
            exec_properties: those of ``FileBasedExampleGen``.

        Raises:
            UserError: the input cannot be used, no row is left, or a split is empty.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        artifact = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.EXAMPLES_KEY]
        )
        job = _parse(exec_properties)
        artifact.split_names = artifact_utils.encode_split_names(job.split_names)
        summary_path = posixpath.join(artifact.uri, artifact_files.INGESTION_SUMMARY)

        with self._make_beam_pipeline() as pipeline:
            batches = self._example_batches(pipeline, exec_properties, summary_path)
            for name, examples in batches.items():
                folder = artifact_utils.get_split_uri([artifact], name)
                prefix = posixpath.join(folder, write_split.DEFAULT_TF_RECORD_FILE_NAME)
                _ = examples | f"WriteSplit[{name}]" >> beam.io.Write(_TFRecordSink(prefix))

        with fileio.open(summary_path, "r") as file:
            summary = IngestionSummary.from_json(file.read())
        row_counts.check(summary, job.pattern)

        examples_utils.set_payload_format(artifact, example_gen_pb2.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(
            artifact, write_split.to_file_format_str(example_gen_pb2.FORMAT_TFRECORDS_GZIP)
        )
        for name, rows in summary.totals().items():
            artifact.set_int_custom_property(name, rows)
        _LOG.info("%s", row_counts.line(summary))
