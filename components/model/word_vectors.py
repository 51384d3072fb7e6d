"""Reads a vocabulary's vectors from a GloVe text file."""

from __future__ import annotations

import codecs
import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from components.contracts import features
from components.contracts.training_report import GloveCoverage
from components.errors import UserError
from components.packed_files import unpacked

FloatArray = npt.NDArray[np.float32]

_BINARY = "binary data; give GloVe text, a word and its numbers a line"
_NUMBER_BYTES = b"0123456789.+-eE "
# A line of 300 numbers has some 3,000 bytes; a binary file may have no newline at all.
_LONGEST_LINE = 1 << 20

# Standard deviation of the numbers of glove.6B.100d.
_GLOVE_SD = 0.4
# Number of words without a vector that the coverage lists.
_NAMED = 30


@contextlib.contextmanager
def _opened(path: Path, dimension: int) -> Iterator[BinaryIO]:
    if not path.is_file():
        raise UserError(f"{path}: no such GloVe file; set data.glove to the path of the vectors")
    with unpacked(path, lambda names: _member(names, dimension)) as source:
        yield source.stream


def _member(names: Sequence[str], dimension: int) -> str:
    texts = [name for name in names if name.endswith(".txt")]
    wanted = [name for name in texts if re.search(rf"(^|[./]){dimension}d\.txt$", name)]
    for found in (texts, wanted):
        if len(found) == 1:
            return found[0]
    raise UserError(
        f"holds {len(texts)} .txt members, {len(wanted)} of them named *.{dimension}d.txt; one is "
        "needed, so unpack the right one and name it"
    )


def read_vectors(
    lines: Iterable[bytes], wanted: frozenset[bytes], dimension: int, source: str
) -> dict[bytes, FloatArray]:
    """Parses GloVe text, a word and its numbers per line, and keeps the wanted words' vectors.

    Each line's width and bytes are checked, but the numbers are parsed only for wanted words. The
    first of several rows of a word counts.

    Args:
        lines: lines with their newlines.
        wanted: UTF-8 words to keep.
        dimension: numbers per word.
        source: name of the file, for messages.

    Returns:
        {word: float32 [dimension]}.

    Raises:
        UserError: a line is not a GloVe row of this width; names file and line.
    """
    vectors: dict[bytes, FloatArray] = {}
    number = 0
    for number, line in enumerate(lines, 1):
        word, numbers = _split(line, number, dimension, source)
        if word in wanted and word not in vectors:
            try:
                vector = np.array(numbers, dtype=np.float32)
            except ValueError:
                vector = np.array([np.nan], dtype=np.float32)
            if not np.isfinite(vector).all():
                raise _not_a_number(word, numbers, f"{source}:{number}")
            vectors[word] = vector
    if number == 0:
        raise UserError(f"{source}:1: the file is empty; fetch the vectors again")
    return vectors


def _split(line: bytes, number: int, dimension: int, source: str) -> tuple[bytes, list[bytes]]:
    """Checks a line and splits it into the word and its unparsed numbers."""
    if not line.endswith(b"\n"):
        if number == 1 and (b"\0" in line or len(line) >= _LONGEST_LINE):
            raise UserError(f"{source}:1: {_BINARY}")
        if len(line) >= _LONGEST_LINE:
            raise UserError(
                f"{source}:{number}: the line has more than {_LONGEST_LINE:,} bytes, which no row "
                "of vectors has; correct or remove it"
            )
        raise UserError(
            f"{source}:{number}: the last line has no line end, so the file is cut short; "
            "fetch it again (or end the line, if the file is complete)"
        )
    if number == 1:
        line = line.removeprefix(codecs.BOM_UTF8)
    line = line.rstrip(b" \t\r\n")
    word, *numbers = line.rsplit(b" ", dimension)
    # A number within the "word" means that the line has too many numbers.
    long = b" " in word and any(map(_is_finite, filter(None, word.split(b" ")[1:])))
    if len(numbers) != dimension or not word or long:
        raise UserError(_width_message(line, number, dimension, source))
    if line[len(word) :].translate(None, _NUMBER_BYTES):
        raise _not_a_number(word, numbers, f"{source}:{number}")
    return word, numbers


def _is_finite(text: bytes) -> bool:
    try:
        return bool(np.isfinite(np.float32(float(text))))
    except ValueError:
        return False


def _not_a_number(word: bytes, numbers: Sequence[bytes], where: str) -> UserError:
    bad = next((text for text in numbers if not _is_finite(text)), b"")
    shown = word.decode("utf-8", "replace")
    shown = shown if len(shown) <= 40 else shown[:40] + "…"
    return UserError(
        f"{where}: {bad[:40].decode('utf-8', 'replace')!r} after the word {shown!r} is not a "
        "finite number; correct the line, or give GloVe text, a word and its numbers a line"
    )


def _width_message(line: bytes, number: int, dimension: int, source: str) -> str:
    fields = line.split()
    count = max(len(fields) - 1, 0)
    if b"\0" in line:
        return f"{source}:{number}: {_BINARY}"
    if number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields):
        return f"{source}:1: a word2vec header line; GloVe files have none, so remove it"
    return (
        f"{source}:{number}: {count} numbers after the word, {dimension} expected; "
        "give vectors of that width or set training.embedding_dim"
    )


def load_glove(
    path: Path, words: Sequence[str], dimension: int
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Loads the embedding matrix of a vocabulary from a GloVe file.

    Row 0 (padding) is zero, row 1 (out of vocabulary) the mean of the found vectors, and row i + 2
    word i's vector, zero if the file lacks the word.

    Args:
        path: text, plain or packed by gzip, xz or zip.
        words: the vocabulary; word i has id i + 2.
        dimension: numbers per vector.

    Returns:
        The matrix, float32 [len(words) + 2, dimension], and which words were found, bool
        [len(words)].

    Raises:
        UserError: the file is missing, damaged, not GloVe text, of another width, or has none of
            the words.
    """
    keys = [word.encode() for word in words]
    with _opened(path, dimension) as stream:
        lines = iter(lambda: stream.readline(_LONGEST_LINE), b"")
        vectors = read_vectors(lines, frozenset(keys), dimension, str(path))
    if not vectors:
        raise UserError(
            f"{path}: holds none of the vocabulary's {len(words)} words; "
            "give lower-case GloVe vectors"
        )
    matrix = np.zeros((len(words) + features.FIRST_WORD_ID, dimension), np.float32)
    found = np.array([key in vectors for key in keys])
    rows = np.flatnonzero(found) + features.FIRST_WORD_ID
    matrix[rows] = [vectors[key] for key in keys if key in vectors]
    matrix[features.OOV_ID] = matrix[rows].mean(axis=0)
    return matrix, found


def random_vectors(
    words: int, dimension: int, seed: int
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Returns what :func:`load_glove` does, for a run without vectors.

    Words and the out-of-vocabulary row are normally distributed, with the spread of GloVe 6B's
    numbers.
    """
    rows = (words + features.FIRST_WORD_ID, dimension)
    matrix = np.random.default_rng(seed).normal(0, _GLOVE_SD, rows).astype(np.float32)
    matrix[features.PAD_ID] = 0
    return matrix, np.zeros(words, bool)


def coverage(
    matrix: FloatArray,
    found: npt.NDArray[np.bool_],
    words: Sequence[str],
    counts: npt.NDArray[np.int64],
) -> GloveCoverage:
    """Measures how much of a vocabulary and of a text has vectors.

    Args:
        matrix, found: from :func:`load_glove`.
        words: the vocabulary.
        counts: frequency of each id in the text, int64 [len(words) + 2]; ids 0 and 1, which are
            not words, are ignored.
    """
    running = counts[features.FIRST_WORD_ID :]
    without = np.flatnonzero(~found & (running > 0))
    frequent = without[np.argsort(-running[without], kind="stable")][:_NAMED]
    return GloveCoverage(
        words=len(words),
        found=int(found.sum()),
        token_share=float(running[found].sum() / max(1, running.sum())),
        matrix_mean=float(matrix.mean(dtype=np.float64)),
        matrix_sd=float(matrix.std(dtype=np.float64)),
        missing=tuple((words[index], int(running[index])) for index in frequent),
    )


def check_first_row(path: Path, dimension: int) -> None:
    """Checks quickly that a GloVe file can be opened, and that its first row has this width.

    Raises:
        UserError: it cannot, or has not.
    """
    with _opened(path, dimension) as stream:
        read_vectors(itertools.islice(stream, 1), frozenset(), dimension, str(path))
