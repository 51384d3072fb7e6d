import re
import sys
import unicodedata

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.arrow import pq
from components.text.cleaning import clean_python, clean_tensor, without_formulas

FORMS = ("NFC", "NFD", "NFKC", "NFKD")


def cleaned(texts: list[str]) -> list[str]:
    return [row.decode() for row in clean_tensor(tf.constant(texts)).numpy()]


def notebook(text: str) -> str:
    """The notebook's three substitutions, as it has them, on letters without accents."""
    text = unicodedata.normalize("NFKD", text)
    text = "".join(char for char in text if not unicodedata.combining(char))
    text = re.sub(r"\$.*?\$", " ", text.lower())
    text = re.sub(r"[^a-z0-9\s]", " ", text)
    return re.sub(r"\s+", " ", text).strip()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("We prove THAT", "we prove that"),
        ("mass $m_t = 173$ GeV", "mass gev"),
        ("cost $5 only", "cost 5 only"),
        ("$a$b$c$", "b"),
        ("across $x\ny$ lines", "across x y lines"),
        ("$$E=mc^2$$ display", "e mc 2 display"),
        ("naïve Schrödinger", "naive schrodinger"),
        ("Erdős, Rényi, e\u0301tale", "erdos renyi etale"),
        ("Ｆｕｌｌ＿ｗｉｄｔｈ　２", "full width 2"),  # noqa: RUF001
        ("cost ＄x＄ of eﬃcient 𝐀𝟙", "cost of efficient a1"),  # noqa: RUF001
        ("Москва 東京 Łódź ß", "odz"),
        ("x\u0305\u0323y", "xy"),
        ("  tabs\tand\u00a0spaces \n", "tabs and spaces"),
        ("\u212aelvin", "kelvin"),
        ("nul\x00byte", "nul byte"),
        ("$only a formula$", ""),
        ("", ""),
    ],
)
def test_cleaning_gives_the_notebooks_text(raw: str, expected: str) -> None:
    assert notebook(raw) == expected
    assert clean_python(raw) == expected
    assert cleaned([raw]) == [expected]


# A small alphabet hits formulas, line breaks and case mapping far more often than all of Unicode.
tricky = st.text(st.sampled_from("aZ09 $\n\r\t\v\x00\x1c\x85\u00a0\u2028İKſßΣ😀\\{}"), max_size=60)  # noqa: RUF001


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(tricky, st.text(max_size=60)), min_size=1, max_size=20))
def test_ops_and_python_give_the_notebooks_text_on_any_text(texts: list[str]) -> None:
    assert cleaned(texts) == [clean_python(text) for text in texts] == list(map(notebook, texts))


# Letters with marks in any order and number, compatibility characters, and what surrounds them.
accented = st.text(
    st.one_of(
        st.sampled_from("aeKsvyz19 $"),
        st.sampled_from("éöűǘọ̄ſﬁÅＺ９＄½²㎏ẛΣжİ가"),  # noqa: RUF001
        st.characters(whitelist_categories=["Mn"]),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(accented, min_size=1, max_size=20))
def test_unicode_forms_of_a_text_are_one_text(texts: list[str]) -> None:
    forms = [unicodedata.normalize(form, text) for text in texts for form in FORMS]
    expected = [clean_python(text) for text in texts for _ in FORMS]
    assert [clean_python(text) for text in forms] == expected
    assert cleaned(forms) == expected


@pytest.mark.slow
def test_accented_pairs_and_triples_fold_in_every_form() -> None:
    """All ASCII letters with every two of the marks that compose with one."""
    marks = [chr(n) for n in range(0x300, 0x345)]
    texts = [a + b + c for a in "aeghosuyKNY7$" for b in marks for c in marks]
    forms = [unicodedata.normalize(form, text) for text in texts for form in FORMS]
    assert cleaned(forms) == [clean_python(text[0]) for text in texts for _ in FORMS]


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=80))
def test_cleaning_is_idempotent_and_leaves_single_spaced_ascii(text: str) -> None:
    once = clean_python(text)
    assert clean_python(once) == once
    assert set(once) <= set("abcdefghijklmnopqrstuvwxyz0123456789 ")
    assert once == " ".join(once.split())


@pytest.mark.slow
def test_every_code_point_cleans_alike() -> None:
    points = [chr(n) for n in range(sys.maxunicode + 1) if not 0xD800 <= n <= 0xDFFF]
    texts = [f"a{point}b $x{point}y$ z" for point in points]
    different = [
        hex(ord(point))
        for point, text, got in zip(points, texts, cleaned(texts), strict=True)
        if not got == clean_python(text) == notebook(text)
    ]
    assert different == []


@given(st.binary(max_size=40))
@settings(max_examples=100, deadline=None)
def test_no_bytes_fail_a_batch(noise: bytes) -> None:
    result = clean_tensor(tf.constant([noise, b"plain text"])).numpy()
    assert result[1] == b"plain text"


def test_without_formulas_keeps_the_rest() -> None:
    texts = tf.constant(["a $x$ b $y", "$z$"])
    assert without_formulas(texts).numpy().tolist() == [b"a  b $y", b""]


@pytest.mark.real
def test_every_real_abstract_cleans_alike(real_corpus) -> None:
    texts = pq.read_table(real_corpus, columns=["abstract"])["abstract"].to_pylist()
    assert cleaned(texts) == [clean_python(text) for text in texts] == list(map(notebook, texts))
