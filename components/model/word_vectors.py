"""Reads a vocabulary's vectors from a GloVe text file and fills in missing words."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import itertools
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from components.contracts import features
from components.errors import UserError

FloatArray = npt.NDArray[np.float32]

_BINARY = "binary data; give GloVe text, a word and its numbers a line"
_NUMBER_BYTES = b"0123456789.+-eE "
# A line of 300 numbers has some 3,000 bytes; a binary file may have no newline at all.
_LONGEST_LINE = 1 << 20
# Random vectors are meaningless, so they stay closer to the mean than found ones.
_RANDOM_SCALE = 0.5
_COMPRESSED: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
# Errors of decompressors on damaged input.
_DAMAGED = (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile)

_PREFIXES = (
    "anti", "auto", "bi", "co", "counter", "cross", "cyber", "de", "di", "dis", "electro", "extra",
    "geo", "hyper", "in", "inter", "intra", "macro", "magneto", "mega", "meta", "micro", "mid",
    "mini", "mono", "multi", "nano", "neuro", "non", "over", "para", "photo", "poly", "post", "pre",
    "pseudo", "quasi", "re", "semi", "sub", "super", "thermo", "trans", "tri", "ultra", "un",
    "under", "uni",
)  # fmt: skip
_SUFFIXES = (
    ("ies", "y"), ("es", ""), ("s", ""), ("ed", ""), ("ed", "e"), ("ing", ""), ("ing", "e"),
    ("ly", ""), ("ness", ""), ("isation", "ization"), ("ization", "ize"), ("ise", "ize"),
    ("ising", "izing"), ("ised", "ized"), ("our", "or"), ("ity", ""), ("ic", ""), ("al", ""),
    ("able", ""), ("less", ""), ("wise", ""),
)  # fmt: skip
_SHORTEST_STEM = 3
# Number of words without a vector that the coverage lists.
_NAMED = 30


@dataclass(frozen=True)
class Coverage:
    """How much of a vocabulary the vectors cover.

    Attributes:
        words: number of words in the vocabulary, without padding and out-of-vocabulary ids.
        found: words with their own vector.
        borrowed: words with a variant's vector.
        filled: words with neither.
        token_share: share of running words with their own vector; None if no counts were given.
        mean, sd: over all numbers of the found rows.
        matrix_mean, matrix_sd: over all numbers of the embedding matrix.
        missing: the most frequent words without their own vector, with their counts, in descending
            order; empty if no counts were given.
    """

    words: int
    found: int
    borrowed: int
    filled: int
    token_share: float | None
    mean: float
    sd: float
    matrix_mean: float
    matrix_sd: float
    missing: tuple[tuple[str, int], ...] = ()

    @property
    def word_share(self) -> float:
        """Share of the vocabulary's words with their own vector."""
        return self.found / self.words if self.words else 0.0


@contextlib.contextmanager
def _open(path: Path, dimension: int) -> Iterator[BinaryIO]:
    if not path.is_file():
        raise UserError(f"{path}: no such GloVe file; set data.glove to the path of the vectors")
    suffix = path.suffix.lower()
    if suffix in _COMPRESSED:
        with _COMPRESSED[suffix](path) as stream:
            yield io.BufferedReader(stream, 1 << 20)
    elif suffix == ".zip":
        try:
            archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise UserError(
                f"{path}: not a zip archive or cut short ({error}); fetch it again"
            ) from None
        with archive:
            try:
                member = archive.open(_member(path, archive.namelist(), dimension))
            # Encrypted, of an unknown compression, or with a broken header.
            except (RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
                raise UserError(
                    f"{path}: cannot be unpacked ({error}); unpack it yourself and name the text"
                ) from None
            with member:
                yield io.BufferedReader(member, 1 << 20)  # type: ignore[type-var]
    else:
        with path.open("rb", 1 << 20) as stream:
            yield stream


def _member(path: Path, names: Sequence[str], dimension: int) -> str:
    # macOS puts a hidden companion beside each file of an archive.
    shown = [name for name in names if not re.search(r"(^|/)(\.|__MACOSX/)", name)]
    texts = [name for name in shown if name.endswith(".txt")]
    if len(texts) == 1:
        return texts[0]
    wanted = [name for name in texts if re.search(rf"(^|[./]){dimension}d\.txt$", name)]
    if len(wanted) == 1:
        return wanted[0]
    raise UserError(
        f"{path}: holds {len(texts)} .txt members, {len(wanted)} of them named "
        f"*.{dimension}d.txt; one is needed, so unpack the right one and name it"
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
    try:
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
    except _DAMAGED as error:
        raise UserError(
            f"{source}:{number + 1}: the file is damaged or cut short ({error}); fetch it again"
        ) from None
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
                "of vectors has; mend or remove it"
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
        "finite number; mend the line, or give GloVe text, a word and its numbers a line"
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


def variants(word: str) -> Iterator[str]:
    """Yields variants whose vector may replace ``word``'s, the closest first.

    First plurals, inflections and British spellings, then the word without a prefix, then without
    leading and trailing digits.
    """
    for suffix, replacement in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _SHORTEST_STEM:
            yield word[: len(word) - len(suffix)] + replacement
    yield word + "s"
    for prefix in _PREFIXES:
        if word.startswith(prefix) and len(word) - len(prefix) > _SHORTEST_STEM:
            rest = word[len(prefix) :]
            yield rest
            yield rest + "s"
            if rest.endswith("s"):
                yield rest[:-1]
    bare = word.strip("0123456789")
    if bare != word and len(bare) >= 2:
        yield bare


def fill_missing(
    vectors: dict[bytes, FloatArray], words: Sequence[str], dimension: int, how: str, seed: int
) -> tuple[FloatArray, int]:
    """Builds the embedding matrix of a vocabulary.

    Row 0 (padding) is zero, row 1 (out of vocabulary) the mean of the found vectors, row i + 2 is
    word i's. A word without a vector gets, by ``how``: ``zeros``; the ``mean`` of the found
    vectors; ``random``, a normal draw around that mean with half the found vectors' standard
    deviation per dimension, seeded by the word; or ``variants``, that of its first variant with a
    vector in the vocabulary, else random.

    Returns:
        The matrix, float32 [len(words) + 2, dimension], and the number of borrowed vectors.
    """
    found = np.stack(list(vectors.values())) if vectors else np.zeros((1, dimension), np.float32)
    mean, sd = found.mean(axis=0), found.std(axis=0)
    matrix = np.zeros((len(words) + features.FIRST_WORD_ID, dimension), np.float32)
    matrix[features.OOV_ID] = mean
    borrowed = 0
    for row, word in enumerate(words, start=features.FIRST_WORD_ID):
        vector = vectors.get(word.encode())
        if vector is None and how == "variants":
            known = (vectors.get(variant.encode()) for variant in variants(word))
            vector = next((candidate for candidate in known if candidate is not None), None)
            borrowed += vector is not None
        if vector is None and how == "mean":
            vector = mean
        if vector is None and how in ("random", "variants"):
            generator = np.random.default_rng([seed, zlib.crc32(word.encode())])
            vector = mean + _RANDOM_SCALE * sd * generator.standard_normal(dimension)
        if vector is not None:
            matrix[row] = vector
    return matrix, borrowed


def load_glove(
    path: Path,
    words: Sequence[str],
    dimension: int,
    *,
    how: str = "variants",
    seed: int = 0,
    counts: npt.NDArray[np.int64] | None = None,
) -> tuple[FloatArray, Coverage]:
    """Loads the embedding matrix of a vocabulary from a GloVe file.

    Args:
        path: ``.txt``, ``.txt.gz``, ``.txt.xz`` or ``.zip``.
        words: the vocabulary; word i has id i + 2.
        dimension: numbers per vector.
        how: how to fill rows of missing words; see :func:`fill_missing`.
        seed: seed of random rows.
        counts: frequency of each id in running text, int64 [len(words) + 2]; ids 0 and 1, which are
            not words, are ignored.

    Returns:
        The matrix, float32 [len(words) + 2, dimension], and the coverage.

    Raises:
        UserError: the file is missing, damaged, not GloVe text, of another width, or has none of
            the words.
    """
    wanted = frozenset(word.encode() for word in words)
    try:
        with _open(path, dimension) as stream:
            lines = iter(lambda: stream.readline(_LONGEST_LINE), b"")
            vectors = read_vectors(lines, wanted, dimension, str(path))
    except _DAMAGED as error:
        raise UserError(f"{path}: damaged or cut short ({error}); fetch it again") from None
    if not vectors and words:
        raise UserError(
            f"{path}: holds none of the vocabulary's {len(words)} words; "
            "give lower-case GloVe vectors"
        )
    matrix, borrowed = fill_missing(vectors, words, dimension, how, seed)
    token_share = None
    missing: list[tuple[str, int]] = []
    if counts is not None:
        own = np.fromiter((word.encode() in vectors for word in words), bool, len(words))
        running = counts[features.FIRST_WORD_ID : features.FIRST_WORD_ID + len(words)]
        token_share = float(running[own].sum() / max(1, running.sum()))
        without = np.flatnonzero(~own & (running > 0))
        frequent = without[np.argsort(-running[without], kind="stable")][:_NAMED]
        missing = [(words[index], int(running[index])) for index in frequent]
    found = np.stack(list(vectors.values())) if vectors else np.zeros((1, dimension), np.float32)
    coverage = Coverage(
        words=len(words),
        found=len(vectors),
        borrowed=borrowed,
        filled=len(words) - len(vectors) - borrowed,
        token_share=token_share,
        mean=float(found.mean()),
        sd=float(found.std()),
        matrix_mean=float(matrix.mean(dtype=np.float64)),
        matrix_sd=float(matrix.std(dtype=np.float64)),
        missing=tuple(missing),
    )
    return matrix, coverage


def check_first_row(path: Path, dimension: int) -> None:
    """Checks quickly that a GloVe file can be opened, and that its first row is valid.

    Args:
        path: ``.txt``, ``.txt.gz``, ``.txt.xz`` or ``.zip``.
        dimension: numbers per word.

    Raises:
        UserError: the file is missing, or its first line is not a GloVe row of this width.
    """
    with _open(path, dimension) as stream:
        read_vectors(itertools.islice(stream, 1), frozenset(), dimension, str(path))
