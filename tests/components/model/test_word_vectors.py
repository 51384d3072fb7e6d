"""The GloVe loader: what it reads, what it rejects and where, and what it covers."""

import gzip
import lzma
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from components.errors import UserError
from components.model.word_vectors import coverage, load_glove

LINES = ["the 1 2 3", "cell -1.5 0 2e-1", "graph 4 5 6", "unwanted 7 8 9"]
TEXT = "\n".join(LINES) + "\n"


def write(folder: Path, name: str, text: str | bytes) -> Path:
    data = text.encode() if isinstance(text, str) else text
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(data))
    elif name.endswith(".xz"):
        path.write_bytes(lzma.compress(data))
    elif name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("glove.6B.3d.txt", data)
    else:
        path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["v.txt", "v.txt.gz", "v.txt.xz", "v.zip"])
def test_every_container_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    matrix, found = load_glove(write(tmp_path, name, TEXT), ["graph", "zzz", "the"], 3)
    np.testing.assert_array_equal(matrix[0], np.zeros(3))
    np.testing.assert_array_equal(matrix[1], [2.5, 3.5, 4.5])
    np.testing.assert_array_equal(matrix[2:], [[4, 5, 6], [0, 0, 0], [1, 2, 3]])
    assert matrix.dtype == np.float32
    assert found.tolist() == [True, False, True]


@pytest.mark.parametrize(
    "text",
    ["".join(f"{line} \n" for line in LINES), "\ufeff" + TEXT, TEXT.replace("\n", "\t\r\n")],
    ids=["trailing blanks", "byte order mark", "tab and carriage return"],
)
def test_blanks_and_byte_order_marks_cost_no_word_its_vector(tmp_path: Path, text: str) -> None:
    matrix, found = load_glove(write(tmp_path, "v.txt", text), ["the", "graph"], 3)
    np.testing.assert_array_equal(matrix[2:], [[1, 2, 3], [4, 5, 6]])
    assert found.all()


def test_hidden_companions_in_a_zip_from_a_mac_are_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, "v.zip", TEXT)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/._glove.6B.3d.txt", b"\0\5\26\7")
        archive.writestr(".hidden.txt", b"")
    matrix, _ = load_glove(path, ["the"], 3)
    np.testing.assert_array_equal(matrix[2], [1, 2, 3])


@pytest.mark.parametrize(("offset", "value"), [(6, 1), (8, 99)], ids=["encrypted", "compression"])
def test_zip_that_cannot_be_unpacked_is_one_line(tmp_path: Path, offset: int, value: int) -> None:
    path = write(tmp_path, "v.zip", TEXT)
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\1\2")
    # Flags stand at 6 and 8, the method at 8 and 10, of a local and a central header.
    data[offset] = data[central + offset + 2] = value
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"v\.zip: damaged, .+ \(.+\); .*unpack it yourself"):
        load_glove(path, ["the"], 3)


def test_line_of_over_a_mebibyte_is_not_called_cut_short(tmp_path: Path) -> None:
    path = write(tmp_path, "v.txt", f"the 1 2 3\n{'x' * (1 << 20)} 1 2 3\n")
    with pytest.raises(UserError, match=r"v\.txt:2: the line has more than 1,048,576 bytes"):
        load_glove(path, ["the"], 3)


def test_coverage_weighs_words_by_their_count_and_names_the_frequent_ones_without_vectors() -> None:
    matrix = np.array([[0, 0], [1, 3], [1, 3], [0, 0], [0, 0], [0, 0]], np.float32)
    found = np.array([True, False, False, False])
    counts = np.array([1000, 500, 30, 3, 7, 0], np.int64)
    covered = coverage(matrix, found, ["the", "zzz", "yyy", "xxx"], counts)
    assert (covered.words, covered.found, covered.word_share) == (4, 1, 0.25)
    assert covered.token_share == pytest.approx(30 / 40)
    assert covered.missing == (("yyy", 7), ("zzz", 3))
    assert covered.matrix_mean == pytest.approx(2 / 3)
    assert covered.matrix_sd == pytest.approx(matrix.std())


def test_zip_of_several_widths_is_read_by_name(tmp_path: Path) -> None:
    path = tmp_path / "glove.6B.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("glove.6B.2d.txt", "the 9 9\n")
        archive.writestr("glove.6B.3d.txt", TEXT)
    matrix, _ = load_glove(path, ["the"], 3)
    np.testing.assert_array_equal(matrix[2], [1, 2, 3])
    with pytest.raises(UserError, match=r"2 \.txt members"):
        load_glove(path, ["the"], 5)


def test_first_row_of_a_repeated_word_counts_and_crlf_is_a_line_end(tmp_path: Path) -> None:
    path = write(tmp_path, "v.txt", "the 1 2 3\r\nthe 7 7 7\r\n")
    np.testing.assert_array_equal(load_glove(path, ["the"], 3)[0][2], [1, 2, 3])


def test_words_with_spaces_are_no_error(tmp_path: Path) -> None:
    path = write(tmp_path, "v.txt", ". . 1 2 3\nat a@b.org 1 2 3\nthe 4 5 6\n")
    np.testing.assert_array_equal(load_glove(path, ["the"], 3)[0][2], [4, 5, 6])


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("the 1 2 3\ncell 1 2\n", 2, "2 numbers after the word, 3 expected"),
        ("the 1 2 3\ncell 1 2 3 4\n", 2, "4 numbers after the word, 3 expected"),
        ("the 1 2 3\n\ncell 1 2 3\n", 2, "0 numbers after the word, 3 expected"),
        ("the 1 2 3\ncell 1 nan 3\n", 2, "'nan' after the word 'cell' is not a finite number"),
        ("the 1 2 3\nother 1 inf 3\n", 2, "'inf' after the word 'other' is not a finite"),
        ("the 1 2 3\ncell 1 1e999 3\n", 2, "'1e999' after the word 'cell' is not a finite"),
        ("the 1 2 3\ncell 1 1-2 3\n", 2, "'1-2' after the word 'cell' is not a finite number"),
        ("the 1 2 3\ncell 1 x 3\n", 2, "'x' after the word 'cell' is not a finite number"),
        ("the 1 2 3\ncell 1 2 3", 2, "no line end, so the file is cut short"),
        ("the 1 2 3\ncell 1 ", 2, "no line end, so the file is cut short"),
        ("400000 3\nthe 1 2 3\n", 1, "word2vec header"),
        ("", 1, "the file is empty"),
        ("<html>\n<body>not found</body>\n", 1, "0 numbers after the word, 3 expected"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0", 1, "0 numbers after the word, 3 expected"),
        (b"\0" * 5000, 1, "binary data"),
        (b"\0\0\0\n", 1, "binary data"),
    ],
)
def test_bad_line_is_named(tmp_path: Path, text: str | bytes, line: int, message: str) -> None:
    path = write(tmp_path, "v.txt", text)
    with pytest.raises(UserError) as raised:
        load_glove(path, ["the", "cell"], 3)
    assert str(raised.value).startswith(f"{path}:{line}: ")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["v.txt.gz", "v.txt.xz"])
def test_truncated_archive_is_named(tmp_path: Path, name: str) -> None:
    random = np.random.default_rng(0)
    text = "".join(f"w{i} {' '.join(map(str, random.normal(size=3)))}\n" for i in range(5000))
    path = write(tmp_path, name, text)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"v\.txt\.\wz: damaged, cut short or"):
        load_glove(path, ["w1"], 3)


@pytest.mark.parametrize("name", ["v.txt.gz", "v.txt.xz", "v.zip"])
def test_content_counts_whatever_the_suffix_says(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, TEXT)
    for other in ("v.txt", "w.gz"):
        shutil.copy(path, tmp_path / other)
        np.testing.assert_array_equal(load_glove(tmp_path / other, ["the"], 3)[0][2], [1, 2, 3])
    path.write_text(TEXT)
    np.testing.assert_array_equal(load_glove(path, ["the"], 3)[0][2], [1, 2, 3])


def test_damaged_zip_member(tmp_path: Path) -> None:
    path = write(tmp_path, "v.zip", TEXT * 200)
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"v\.zip"):
        load_glove(path, ["the"], 3)


def test_missing_file_and_no_word_in_common(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such GloVe file; set data\.glove"):
        load_glove(tmp_path / "absent.txt", ["the"], 3)
    with pytest.raises(UserError, match="none of the vocabulary's 1 words"):
        load_glove(write(tmp_path, "v.txt", TEXT), ["zzz"], 3)


@pytest.mark.real
def test_real_vectors(real_glove: Path) -> None:
    words = ["the", "neural", "eigenvalue", "qzxqzx", "spinors"]
    matrix, found = load_glove(real_glove, words, 100)
    assert matrix[2, :3] == pytest.approx([-0.038194, -0.24487, 0.72812])
    assert found.sum() >= 3
    assert np.isfinite(matrix).all()
