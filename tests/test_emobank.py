"""EmoBank's reader on a miniature of the repository with every known trap, and on the real tables."""

import statistics
from collections import Counter
from pathlib import Path

import pytest

from multimodal_ser.corpora import emobank
from multimodal_ser.corpora.reading import Remark
from multimodal_ser.errors import InputError
from multimodal_ser.labels import FIVE_POINT
from multimodal_ser.utterances import Utterance, problems_of

REAL = Path(__file__).parents[2] / "shared" / "data" / "emobank"
TABLES = {
    # In the order V, A, D; the sentence "None"; doubled quotes; a value below 1; one text in two splits.
    "emobank.csv": "id,split,V,A,D,text\n"
    '110CYL068_1036_1079,train,3.0,2.0,4.0,"Remember what she said in my last letter? """\n'
    "easy_money_13624_13628,dev,2.78,2.89,2.78,None\n"
    '0012_1_9,test,5.0,1.0,0.9,"“Fuck, née,” NA"\n'
    'A1_10_59,train,3.5,3.0,3.0,"Sincerely,"\n'
    'A1_64_82,test,3.25,3.0,3.0,"Sincerely,"\n'
    'A1_90_99,dev,3.0,3.0,3.0," "\n',
    "reader.csv": '"id","V","A","D","stdV","stdA","stdD","N"\n'
    '"110CYL068_1036_1079","2.67","1.67","4.0","0.47","0.94","0.0","3"\n'
    '"easy_money_13624_13628","2.5","3.0","2.5","0.5","0.0","0.5","4"\n'
    '"0012_1_9","5.0","1.0","1.0","0.0","0.0","0.0","2"\n'
    '"A1_10_59","3.5","3.0","3.0","0.5","0.0","0.0","2"\n'
    '"A1_90_99","3.0","3.0","3.0","0.0","0.0","0.0","5"\n'
    '"only_reader_1_2","3.0","3.0","3.0","0.0","0.0","0.0","2"\n',
    "writer.csv": '"id","V","A","D","stdV","stdA","stdD","N"\n'
    '"110CYL068_1036_1079","3.5","2.5","4.0","0.5","0.5","0.0","2"\n'
    '"easy_money_13624_13628","3.0","2.8","3.0","0.0","0.4","0.0","5"\n'
    '"0012_1_9","5.0","1.0","1.0","0.0","0.0","0.0","2"\n'
    '"A1_10_59","3.5","3.0","3.0","0.5","0.0","0.0","2"\n'
    '"A1_64_82","3.25","3.0","3.0","0.43","0.0","0.0","4"\n'
    '"A1_90_99","3.0","3.0","3.0","0.0","0.0","0.0","5"\n',
    "meta.tsv": "id\tdocument\tcategory\tsubcategory\n"
    "110CYL068_1036_1079\t110CYL068\tletters\tphilanthropic-fundraising\n"
    "easy_money_13624_13628\teasy_money\tfiction\t \n"
    "0012_1_9\t0012\tSemEval\t\n"
    "A1_10_59\tA1\tletters\t \n"
    "A1_90_99\tA1\tletters\t \n",
    "raw.csv": '"id","text"\n"easy_money_13624_13628","None"\n',
}
INDIVIDUAL = {
    # The second rating says 1, 1, 1, which the published means leave out.
    "individual_reader_ratings.csv": "id,V,A,D\n110CYL068_1036_1079,3,1,4\n110CYL068_1036_1079,1,1,1\n"
    "110CYL068_1036_1079,2,3,4\n110CYL068_1036_1079,3,1,4\n",
    "individual_writer_ratings.csv": "id,V,A,D\n110CYL068_1036_1079,4,3,4\n110CYL068_1036_1079,3,2,4\n",
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """The top folder of a clone; the tables lie in its folder `corpus`."""
    folder = tmp_path / "EmoBank"
    (folder / "corpus").mkdir(parents=True)
    (folder / "README.md").write_text("EmoBank")
    for name, text in TABLES.items():
        (folder / "corpus" / name).write_text(text, encoding="utf-8")
    return folder


def sentence(identifier: str, text: str, avd: tuple, meta: dict, **known: object) -> Utterance:
    arousal, valence, dominance = avd
    return Utterance(
        id=identifier,
        corpus="emobank",
        text=text,
        text_source="reference",
        arousal=arousal,
        valence=valence,
        dominance=dominance,
        label_source="rated",
        meta=meta,
        **known,
    )


LETTER = 'Remember what she said in my last letter? "'
LETTER_META = {"document": "110CYL068", "genre": "letters", "subgenre": "philanthropic-fundraising"}
COMBINED = [
    sentence(
        "110CYL068_1036_1079",
        LETTER,
        (0.25, 0.5, 0.75),
        {"perspective": "combined", **LETTER_META, "raters": 5},
        split="train",
    ),
    sentence(
        "easy_money_13624_13628",
        "None",
        (0.4725, 0.445, 0.445),
        {"perspective": "combined", "document": "easy_money", "genre": "fiction", "raters": 9},
        split="development",
    ),
    sentence(  # an id that looks like a number, a text that ends in "NA", a dominance of 0.9
        "0012_1_9",
        "“Fuck, née,” NA",
        (0.0, 1.0, 0.0),
        {"perspective": "combined", "document": "0012", "genre": "SemEval", "raters": 4},
        split="test",
    ),
    sentence(
        "A1_10_59",
        "Sincerely,",
        (0.5, 0.625, 0.5),
        {"perspective": "combined", "document": "A1", "genre": "letters", "raters": 4},
        split="train",
    ),
    sentence(  # no row in meta.tsv, and no rating by readers
        "A1_64_82", "Sincerely,", (0.5, 0.5625, 0.5), {"perspective": "combined"}, split="test"
    ),
]


def test_miniature_corpus_becomes_the_literal_table(corpus: Path) -> None:
    assert emobank.read(corpus).utterances == COMBINED


def test_the_inner_folder_may_be_given_too(corpus: Path) -> None:
    assert emobank.read(corpus / "corpus").utterances == COMBINED


def test_every_utterance_is_valid_text_without_audio() -> None:
    assert [problems_of(utterance) for utterance in COMBINED] == [[]] * 5
    assert {utterance.audio for utterance in COMBINED} == {None}


def test_one_perspective_has_its_own_labels_and_spreads(corpus: Path) -> None:
    reading = emobank.read(corpus, perspective="reader")
    assert reading.utterances[0] == sentence(
        "110CYL068_1036_1079",
        LETTER,
        (0.1675, 0.4175, 0.75),
        {
            "perspective": "reader",
            **LETTER_META,
            "raters": 3,
            "spread": {"arousal": 0.235, "valence": 0.1175, "dominance": 0.0},
        },
        split="train",
    )
    assert [u.id for u in reading.utterances] == [u.id for u in COMBINED[:4]]
    assert reading.dropped == [
        Remark("A1_64_82", "no reader rating", split="test", failed=True),
        Remark("A1_90_99", "empty text", split="development", failed=True),
        Remark("only_reader_1_2", "not in emobank.csv, so in no official split"),
    ]


def test_oddities_are_listed(corpus: Path) -> None:
    reading = emobank.read(corpus)
    assert [(remark.id, remark.reason, remark.detail) for remark in reading.flagged] == [
        ("0012_1_9", "label outside its scale, clamped", "dominance = 0.9, 1-5"),
        ("A1_64_82", "no row in meta.tsv", ""),
    ]
    assert reading.dropped == [Remark("A1_90_99", "empty text", split="development", failed=True)]
    assert reading.notes == [
        "labels: combined perspective",
        "reader.csv rates 1 sentences that emobank.csv does not have",
        "1 sentences of development and test stand word for word in train: the official split was drawn by "
        "sentence, not by document",
    ]


def test_single_ratings_are_kept_without_the_invalid_ones(corpus: Path) -> None:
    for name, text in INDIVIDUAL.items():
        (corpus / "corpus" / name).write_text(text)
    reading = emobank.read(corpus, perspective="reader")
    assert reading.utterances[0].ratings == [
        {"perspective": "reader", "arousal": 0.0, "valence": 0.5, "dominance": 0.75},
        {"perspective": "reader", "arousal": 0.5, "valence": 0.25, "dominance": 0.75},
        {"perspective": "reader", "arousal": 0.0, "valence": 0.5, "dominance": 0.75},
    ]
    assert "1 single ratings of 1, 1, 1 left out, as in the published means" in reading.notes
    combined = emobank.read(corpus).utterances[0]
    assert Counter(rating["perspective"] for rating in combined.ratings) == {"reader": 3, "writer": 2}
    assert statistics.fmean(r["valence"] for r in combined.ratings) == combined.valence
    assert problems_of(combined) == []


def test_a_missing_rating_and_an_unknown_split_are_flagged(corpus: Path) -> None:
    path = corpus / "corpus" / "emobank.csv"
    path.write_text("id,split,V,A,D,text\nA1_10_59,held-out,3.0,,nan,Hello.\n")
    reading = emobank.read(corpus)
    (utterance,) = reading.utterances
    assert (utterance.split, utterance.arousal, utterance.valence, utterance.dominance) == (
        None,
        None,
        0.5,
        None,
    )
    assert [(remark.reason, remark.detail) for remark in reading.flagged] == [
        ("unknown split", "'held-out'"),
        ("rating missing", "arousal = ''"),
        ("rating missing", "dominance = 'nan'"),
    ]


def test_a_table_in_windows_1252_is_read_as_such(corpus: Path) -> None:
    path = corpus / "corpus" / "emobank.csv"
    path.write_bytes(TABLES["emobank.csv"].encode("cp1252"))
    assert emobank.read(corpus).utterances == COMBINED


def test_the_old_table_without_splits_is_an_error(corpus: Path) -> None:
    (corpus / "corpus" / "emobank.csv").write_text("id,V,A,D,text\n")
    with pytest.raises(
        InputError, match=r"emobank\.csv: no column 'split'; columns found: id, V, A, D, text"
    ):
        emobank.read(corpus)


def test_a_folder_without_the_table_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "sentences.csv").write_text("text\nHello.\n")
    with pytest.raises(InputError, match=r"no emobank\.csv in .*use `prepare table`"):
        emobank.read(tmp_path)


def test_a_perspective_needs_its_table(corpus: Path) -> None:
    (corpus / "corpus" / "writer.csv").unlink()
    with pytest.raises(InputError, match=r"--perspective writer needs .*writer\.csv, which is not there"):
        emobank.read(corpus, perspective="writer")


@pytest.mark.skipif(not REAL.is_dir(), reason="the real EmoBank tables are not beside this checkout")
def test_real_tables_have_the_published_counts_and_moments() -> None:
    reading = emobank.read(REAL)
    splits = Counter(u.split for u in reading.utterances)
    assert splits == {"train": 8062, "development": 1000, "test": 1000}
    assert {**splits, "total": len(reading.utterances)} == reading.expected
    published = {"valence": (2.98, 0.35), "arousal": (3.04, 0.26), "dominance": (3.06, 0.21)}
    for dimension, moments in published.items():
        values = [FIVE_POINT.from_unit(getattr(u, dimension)) for u in reading.utterances]
        assert (round(statistics.fmean(values), 2), round(statistics.pstdev(values), 2)) == moments
    none = [u for u in reading.utterances if u.text == "None"]
    assert [(u.id, u.split) for u in none] == [("easy_money_13624_13628", "development")]
    assert (reading.dropped, reading.flagged) == ([], [])
    assert not [u.id for u in reading.utterances if problems_of(u)]


@pytest.mark.skipif(not REAL.is_dir(), reason="the real EmoBank tables are not beside this checkout")
@pytest.mark.parametrize(("perspective", "outside"), [("reader", 263), ("writer", 217)])
def test_real_perspectives_cover_the_official_split(perspective: str, outside: int) -> None:
    reading = emobank.read(REAL, perspective=perspective)
    assert len(reading.utterances) == 10062
    assert Counter(remark.reason for remark in reading.dropped) == {
        "not in emobank.csv, so in no official split": outside
    }
    assert not any(remark.failed for remark in reading.dropped)
