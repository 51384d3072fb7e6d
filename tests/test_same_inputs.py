"""All readers see the same files, and say the same of what they cannot read."""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.arrow import pa, pq
from components.errors import UserError
from components.ingestion import parquet_source
from pipeline import doctor
from pipeline.client.batch import parts, plan
from pipeline.client.batch.model import ModelVersion
from pipeline.client.cli import inputs
from pipeline.doctor import Health


def papers(*numbers: int) -> pa.Table:
    return pa.table(
        {
            "id": [f"p{number}" for number in numbers],
            "abstract": [f"We prove theorem {number}." for number in numbers],
            "final_category": ["cs"] * len(numbers),
            "update_date": ["2024-01-01"] * len(numbers),
        }
    )


def ingested(pattern: str) -> list[str]:
    reader = parquet_source.RowGroupReader()
    groups = parquet_source.find_row_groups(pattern)
    return [one for group in groups for batch in reader.batches(group) for one in _ids(batch)]


def _ids(batch: pa.RecordBatch) -> list[str]:
    return batch.column(batch.schema.get_field_index("id")).to_pylist()


def classified(pattern: str) -> list[str]:
    fields = inputs.Fields(("abstract",), "id", 1000)
    return [str(row.identifier) for row in inputs.read_file(pattern, "auto", fields)]


def scored(pattern: str) -> list[str]:
    columns = plan.Columns("id", ("abstract",))
    job = plan.plan(pattern, columns, 10, ModelVersion("/models/1", "1", "digest"), Path("/out"))
    rows = [row for shard in job.shards() for row in plan.read_rows(shard, columns)]
    return [key.decode() for key, _ in rows if isinstance(key, bytes)]


def examined(pattern: str) -> list[str]:
    finding = doctor.check_parquet(Path(pattern))
    if finding.health is Health.BROKEN:
        raise UserError(finding.text)
    # Doctor says how many rows it found, not which.
    return ["?"] * int(finding.text.split(": ")[1].split(" rows")[0].replace(",", ""))


READERS: dict[str, Callable[[str], list[str]]] = {
    "ingestion": ingested,
    "doctor": examined,
    "arxiv-classify --file": classified,
    "batch": scored,
}
TREES = {
    "nested/**/*.parquet": ["nested/a.parquet", "nested/x/b.parquet", "nested/x/y/c.parquet"],
    "hidden/*.parquet": ["hidden/x.parquet"],
    "hidden": ["hidden/x.parquet"],
    "spark.parquet": ["spark.parquet/part-00000-a.c000.snappy.parquet"],
    "spar*.parquet": ["spark.parquet/part-00000-a.c000.snappy.parquet"],
    "hive": ["hive/year=2023/a.parquet", "hive/year=2024/a.parquet"],
    "hive/year=2*": ["hive/year=2023/a.parquet", "hive/year=2024/a.parquet"],
}
HIDDEN = (
    "nested/.git/a.parquet",
    "nested/x/_temporary/0/b.parquet",
    "hidden/.x.tmp.parquet",
    "hidden/_temporary.parquet",
    "hidden/_SUCCESS",
    "spark.parquet/.part-00000-a.c000.snappy.parquet.crc",
    "spark.parquet/_SUCCESS",
    "hive/_common_metadata",
)


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    visible = sorted({name for names in TREES.values() for name in names})
    for number, name in enumerate((*visible, *HIDDEN)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(papers(2 * number, 2 * number + 1), tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("pattern", TREES)
def test_readers_take_the_same_files_in_order(pattern: str, reader: str, trees: Path) -> None:
    expected = [one for name in TREES[pattern] for one in _ids_of(trees / name)]
    found = READERS[reader](f"{trees}/{pattern}")
    assert len(found) == len(expected)
    if reader != "doctor":
        assert found == expected


def _ids_of(path: Path) -> list[str]:
    return pq.ParquetFile(path).read(["id"]).column(0).to_pylist()


@pytest.mark.parametrize("reader", READERS)
def test_names_that_are_not_utf8_are_read(reader: str, tmp_path: Path) -> None:
    pq.write_table(papers(1, 2), tmp_path / "x.parquet")
    os.rename(tmp_path / "x.parquet", os.fsencode(tmp_path) + b"/caf\xe9.parquet")  # noqa: PTH104
    assert len(READERS[reader](str(tmp_path))) == 2


@pytest.mark.parametrize("reader", READERS)
def test_long_paths_are_one_line(reader: str) -> None:
    for path in ("/x" * 3000, "/tmp/" + "x" * 300 + ".parquet"):
        with pytest.raises(UserError, match=r": cannot be read \(File name too long\)$"):
            READERS[reader](path)


def _damaged(start: float, size: int) -> bytes:
    """Parquet of three row groups; bytes of the abstracts in the second one are changed."""
    sink = pa.BufferOutputStream()
    pq.write_table(papers(*range(300)), sink, row_group_size=100, use_dictionary=False)
    content = bytearray(sink.getvalue().to_pybytes())
    column = pq.ParquetFile(pa.BufferReader(bytes(content))).metadata.row_group(1).column(1)
    at = column.data_page_offset + int(column.total_compressed_size * start)
    content[at : at + size] = bytes(byte ^ 0x5A for byte in content[at : at + size])
    return bytes(content)


def _packed(text: str) -> bytes:
    return zlib.decompress(base64.b85decode(text))


# Written by a later pyarrow: three papers each.
NEWER = {
    "delta lengths": _packed(
        "c-oDW&2HL25XaXJu^@G#M(SF2#laV>N-d6Yft1RZg+QoE(!^3kK$X&sae#)e+72H*^_)}BeS)Z`9D3-f&(de;v8V"
        "2?6EJBNbz}|0e|CN|>p>hKI|Bi1!u@AZAb|jdWF9<87~4ixHw?p+=b^E=2>?h}dEx~wLHs<UuY+tRs+a_oh503Bt"
        "dE0^%sW2gJbn~%IKguK7zt^XN{&xT-a&JzcFi=5?X;00j~s~^$*6^-HR2bk!3H4ZUpRQlQIdE|+Nitg$QzDbHR#|"
        "#m)8*qx?W2S+-aaQ;NDIM{KUmpk_kFn0^~Vxy<EAAdwAM)ef11`DxTn(zC?mC<!uhgg70+PK8A4s#S|~|-Bt?Jk_"
        "5@VZk%-oxOd{<z-<q`Sv2+FV$>q?33X9Dj!*r-!%lD`N`jJ9Y8psFQAr6vp)DXU3DP%Cy5h9Bb<Z}HB&08i2bPpq"
        "1VsY^0Y*@F#$(vAG}W#->&`wSq=)|^MQ_6}KRD?#r(N;Zy~~YYt-r9MvUnMcdC5z^Iqmz3^*?K7Xpy0tbF}npRT8"
        "wg^mUcwWf9r-oBGRegYr*)i`oPg5kiM3wATm`p^YjCwNa_fv?4jMM}rbVub8m-yeTaWY1E`{hoQ>Uxd)6-jvO(uI"
        "zJy;iMriN*LiNw8ufjHiPara^z@vL#(LXKbr$`Y)u?M77tb5VcJJ7<JFVR#G@$(owEhJhp;DeV3FiqdOG$lP&vi~"
        "Kh4-|+X%=QK8S5jhpCWpBa=!*DPQrVa7en99)3`Ga>w@ct?0&_Yen3`7*!ytd25DzBN@LF(PSmmM`Q70_HFLV5XB"
        "7IIpFhA|0pNiAgZ%--IR2&"
    ),
    "string views": _packed(
        "c-oDW&2G~`5XaYUYNe%(C}J%e<={&!BuH>fk`iQrHfcT(p`?~jnh2?E9XAQh7q*)Z4xD%Zo`F-395`^|DR=-LfCJ"
        "(Q*j)$5iK>c~HJSWp=QlH+D0O6}A%HD-cpnPH5ugyyfxBDUzLrU8nx;#EtL^Op0FqUnSb^IjHi)ElK_(qmbb`vj+"
        "zK-?z+PA4Ethfb-1a$~U|4R1xHL*7%OxpqpuUp3t!vtTQcIIZ3i*tr)qK)6vCGgf21xn`_>o%y#TvFUc19Ch@w(V"
        "cNxO(RJ*TaB_RLE$-qYVtd|-^&)$6y2Qo(&Z>)Ebyh8+b@@th0~zzPON<kwjs39i+(2N*^H+)3~f-)kp8Elw`8ud"
        "%b<5cf|k?Ae`>GY^MuT#Va9KA|S8NAaoaIoR?RqA195xu$|R+>sLkkZB3Xi-P!-6E8V6YFx8PIS%Oy;(;ONWI<Me"
        "K!73CT6+vT5ohWb&RE-Jh;;KRQg|AM`Ob--IQ5b@u3c;hYg~m5UIt_S;>16k`fbDbpB;zLtpF|l*c1gdDt_K1acK"
        "vc=F7%oe}mFb{sBExR6qzFA^$u_hzK22MyP{|9i|n?g%{K*BJ_+2%g;q>aYVfqH3tk;qQ<T>K0;=PiPhk~e~Q#p%"
        "026$Id3)&H6~UMNYcG?+8V2EGSynvW2Z(<`?zr4JU08sy4h`4UZEkam#6uUXba_1P{i-YKN(6I;6}E4TF$?v`7J#"
        "^w@F*?Y5ok+;mLeWRG9j6mzGWc>!-Qa537P3M{K^rq8^ZxF?QZv*j~~akCWJOMpI>CJ8o|@RP=00OQmJ{n-3mfZv"
        "apy|6YFq?bH4Z"
    ),
    "float16": _packed(
        "c-oDWOK;Oa5P;Wiu-cMF6tR|#a`2^Ak(%Iy^Z{~#P1~eEX`6^PB&t-5<Gh*|wwt6JIC12_k)Kd;;=loM;1?l*ICE"
        "fjojOibRji!Jcpl%(tR~qf`2<F|gm;&)0E&Qx=n7h#(N?uoT+_6q<g42JJVGe8&4U!U8IZmwK8I3?pd|^Y6kZu)h"
        "FXSOlX%l%oZGiN4kzfQ69ScbsmXL8<rPkj<<2HGZ8fGP;E@74BWXJxX%^(j)s7%Ye}~_5W1vXEQo44hXDM#YaO2V"
        "(0i|x271tWLamIV}`=JMnfE*9M36`wUGzN9cQ7VS57=7amhDT@&1LY(f9o3b1l!lKkqQ#-c3Wb-vI!H&4Q5uKj<}"
        "#85$E;Z`1J5EHUf?CZUS2>uQHW!&kxIR7G>=WgwW=NaEa<v^+AV|mn2Ml%+Ia1_wqd###t05!Ug8GLzwjmsa#TK2"
        "Q51*e1p&#lAm&9u{K|>voI0&vu?%t)(>tbvt;m9`A_0H_)I_rk+Y<-s7fzp8hXCouWu)M24D*8%KXU3huV1+v0jz"
        "!**1sCY{K<)bIQ83<{y%FHK$phQ5f9A`7_%Za)X&%SOBY~-xN`vzzYC(EPKzG^5tYIupWiDy@D@V)G<BDrvuc_Uk"
        "|W-EMo6Eet0Y56m26a*Ee!$Bsj@-H6J{8F!#RM@Cd+S7k?B+E`2NfbD6$61*5(#7vd}H!AF8HPRLk!}=)J~8e8!9"
        "KPsG!v(zRlHS2J6gM%inzPe<v}d>WoRU`4i>FXv}&P~Y}pzm&~rrNjFt#h3XedHR;7=BQw^=KUhW`PkW`qSR`h77"
        "K$)F$wvFa?fm^z|GM7wH%!b?k7u#Nj8Vce$&H#vJ?HVD%s|VH(zd8Z+#s}O4qR8oLX+o>~>>@ZFl-g&$69*r>!KH"
        "<61l+AHh#A_@G}?2<^k4??2&G8r}"
    ),
}
LATER = "; pyarrow 10.0.1 lacks it); write the file anew with plain column types"
ODD = {
    "page header": (_damaged(0, 4), ("column 'abstract', row group 1: ", "write the file anew")),
    "snappy": (_damaged(0.5, 40), ("column 'abstract', row group 1: Corrupt snappy", "anew")),
    "cut": (_damaged(0, 0)[:-40], ("magic bytes not found", "copy or write the file anew")),
    "empty": (b"", ("size is 0 bytes",)),
    "delta lengths": (NEWER["delta lengths"], ("column 'abstract', row group 0: ", LATER)),
    "string views": (NEWER["string views"], ("Unrecognized type", LATER)),
    "float16": (NEWER["float16"], ("not recognized", LATER)),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ODD)
def test_files_that_cannot_be_decoded_are_named_with_reason_and_remedy(
    kind: str, reader: str, tmp_path: Path
) -> None:
    content, words = ODD[kind]
    pq.write_table(papers(1), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(content)
    with pytest.raises(UserError) as refused:
        READERS[reader](f"{tmp_path}/*.parquet")
    message = str(refused.value)
    assert message.startswith(f"{tmp_path}/b.parquet: cannot be read as parquet (")
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.fixture
def partitioned(tmp_path: Path) -> Iterator[str]:
    """Files whose class and date are in the names of their folders alone."""
    for place, numbers in {"R%26D/update_date=2023-05-01": (1,), "cs/update_date=x": (2,)}.items():
        folder = tmp_path / f"final_category={place}"
        folder.mkdir(parents=True)
        table = papers(*numbers).drop(["final_category", "update_date"])
        pq.write_table(table, folder / "a.parquet")
    return str(tmp_path)


def test_partition_keys_are_columns_of_a_run(partitioned: str) -> None:
    reader = parquet_source.RowGroupReader()
    rows = [
        row
        for group in parquet_source.find_row_groups(partitioned)
        for batch in reader.batches(group)
        for row in batch.to_pylist()
    ]
    assert [(row["id"], row["final_category"], row["update_date"]) for row in rows] == [
        ("p1", "R&D", "2023-05-01"),
        ("p2", "cs", "x"),
    ]
    assert len(examined(partitioned)) == 2


def test_rejected_rows_of_a_file_whose_name_is_not_utf8_are_written(tmp_path: Path) -> None:
    shard = plan.Shard("part-0", os.fsdecode(b"/caf\xe9.parquet"), 0, 1)
    scored = pa.table({"id": pa.array([], pa.string())})
    parts.write_part(tmp_path, shard, "d", scored, [parts.RejectedRow(0, "p", "no id")])
    table = pq.ParquetFile(parts.rejected_path(tmp_path, shard)).read()
    assert table.column("file").to_pylist() == ["/caf\N{REPLACEMENT CHARACTER}.parquet"]
    assert parts.rejected_rows(tmp_path, shard, "d") == 1
