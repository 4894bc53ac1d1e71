"""The sample course: its facts, its phrasings, its ratings, its dirt and its files."""

import io
import itertools
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from schemas.errors import InputError
from schemas.rejects import REASONS as ALL_REASONS
from stages import make_sample_course as stage
from stages import prepare_questions
from stages.pure import (
    oracle,
    sample_course,
    sample_dirt,
    sample_exports,
    sample_faults,
    sample_ratings,
    sample_students,
    sample_texts,
)
from stages.pure.cleaning import plain_text
from stages.pure.oracle import content, words

GIVEN: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
PARAMS = stage.Params(**GIVEN["make_sample_course"])
CLUSTERING = stage.Clustering(
    **{name: GIVEN["prepare_questions"][name] for name in ("cluster_similarity", "split_percent")}
)
SEED = GIVEN["seed"]
REASONS = {  # kind of dirt -> reason of the rejection
    "image": "has_image",
    "question_nan": "question_is_nan",
    "explanation_nan": "empty_explanation",
    "explanation_empty": "empty_explanation",
    "deleted": "deleted",
    "few_ratings": "few_ratings",
    "key_beyond": "key_not_an_option",
    "image_capitals": "has_image",
    "question_na": "key_not_an_option",
    "question_empty": "empty_stem",
    "options_count": "options_count",
    "option_empty": "empty_option",
    "option_twice": "duplicate_options",
}
# Shared words over all words: from SAME_FACT two ids are one fact, from SAME_KEY_FACT if the
# keys are equal. Six pairs that were one fact asked twice had .21 to .42.
SAME_FACT = 0.20
SAME_KEY_FACT = 0.15


@pytest.fixture(scope="module")
def facts() -> pd.DataFrame:
    return sample_course.choose_facts(stage.read_facts(stage.FACTS_DIR), None)


@pytest.fixture(scope="module")
def phrasings() -> dict[str, Any]:
    return stage.read_phrasings(stage.FACTS_DIR)


@pytest.fixture(scope="module")
def rows(facts: pd.DataFrame, phrasings: dict[str, Any]) -> pd.DataFrame:
    return stage.make_rows(facts, phrasings["pools"], PARAMS, CLUSTERING, SEED)


@pytest.fixture(scope="module")
def students(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per student, without the extra rows that dirt adds."""
    return rows[~rows.dirt.isin(sample_dirt.EXTRA)]


@pytest.fixture(scope="module")
def few(facts: pd.DataFrame, phrasings: dict[str, Any]) -> pd.DataFrame:
    """A small course of 30 facts."""
    small = sample_course.choose_facts(facts, 30)
    return stage.make_rows(small, phrasings["pools"], PARAMS, CLUSTERING, SEED)


@pytest.fixture(scope="module")
def prepared(
    rows: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """questions and rejects, as prepare_questions makes them from the exported files."""
    folder = tmp_path_factory.mktemp("raw") / "sample_course"
    stage.write_folder(folder, sample_exports.export(rows, SEED))
    given = {**GIVEN["prepare_questions"], "source": str(folder)}
    questions, rejects, _ = prepare_questions.prepare(prepare_questions.Params(**given))
    return questions, rejects


def holds(text: str, part: str) -> bool:
    """Do the words of `part` stand in `text`, next to each other?"""
    return f" {' '.join(words(part))} " in f" {' '.join(words(text))} "


def stems(text: str) -> frozenset[str]:
    """The content words of `text` without common endings, spelled as in America."""
    found = set()
    for word in content(text):
        plain = word.replace("ae", "e").replace("oe", "e").replace("our", "or")
        ending = next((e for e in ("ing", "ed", "es", "s", "e") if plain.endswith(e)), "")
        cut = plain[: len(plain) - len(ending)]
        found.add(cut if len(cut) >= 3 and not plain.endswith("ss") else plain)
    return frozenset(found)


def told_twice(facts: pd.DataFrame) -> list[tuple[str, str]]:
    """Pairs of ids whose key, question, statement and mechanism say nearly the same."""
    said, keys = {}, {}
    for fact in facts.to_dict("records"):
        around = fact["statement"].replace("{option}", " ")
        parts = [fact["key"], fact["question"], around, fact["mechanism"]]
        said[fact["fact_id"]] = stems(" ".join(parts))
        keys[fact["fact_id"]] = stems(fact["key"])
    found = []
    for a, b in itertools.combinations(said, 2):
        overlap = len(said[a] & said[b]) / len(said[a] | said[b])
        if overlap >= (SAME_KEY_FACT if keys[a] == keys[b] else SAME_FACT):
            found.append((a, b))
    return found


def offered(fact: pd.Series) -> list[str]:
    return [fact.key_, *(fact[f"distractor_{i}"] for i in range(1, 5))]


class TestFacts:
    def test_are_many_and_told_apart_by_id_question_and_mechanism(self, facts: pd.DataFrame):
        assert len(facts) >= 400
        for column in ("fact_id", "question", "mechanism", "statement"):
            assert facts[column].str.lower().is_unique, column

    def test_no_fact_is_told_under_two_ids(self, facts: pd.DataFrame):
        assert not told_twice(facts)

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (
                "Oxygen in human blood travels mostly inside which cells?,erythrocytes,"
                "oxygen in human blood travels mostly inside {option},"
                "they are packed with haemoglobin that binds the gas loosely",
                "Which blood cell carries oxygen from the lungs to the tissues?,red cell,"
                "oxygen is carried in blood from the lungs to the tissues by the {option},"
                "it is packed full of an iron protein that binds gas",
            ),
            (
                "Thirsty people make less urine owing to what hormone?,vasopressin,"
                "thirsty people make less urine under the action of {option},"
                "it puts aquaporin channels into the collecting ducts",
                "During thirst which hormone tells the kidney to save water?,vasopressin,"
                "during thirst the kidney is told to save water by {option},"
                "more pores open in the collecting ducts and urine shrinks",
            ),
        ],
    )
    def test_a_fact_in_other_words_is_found(self, first: str, second: str):
        names = ["question", "key", "statement", "mechanism"]
        pair = pd.DataFrame([one.split(",") for one in (first, second)], columns=names)
        assert told_twice(pair.assign(fact_id=["a", "b"])) == [("a", "b")]

    def test_an_id_of_two_files_is_refused(self, facts: pd.DataFrame, tmp_path: Path):
        for field, own in facts.groupby("field"):
            own = own.head(3).copy()
            if field != "law":
                own.loc[own.index[1], "fact_id"] = "x001"
            own.to_csv(tmp_path / f"facts_{field}.csv", index=False)
        with pytest.raises(InputError, match="'x001' occurs twice, in biology and medicine"):
            stage.read_facts(tmp_path)

    def test_are_plain_ascii_without_markup(self, facts: pd.DataFrame):
        text = "".join(facts[sample_course.FACT_COLUMNS].to_numpy().ravel())
        assert text.isascii()
        assert not set(text) & set("<>&\n\t")

    def test_offer_five_different_options(self, facts: pd.DataFrame):
        for _, fact in facts.rename(columns={"key": "key_"}).iterrows():
            assert len({tuple(words(one)) for one in offered(fact)}) == 5, fact.fact_id

    def test_no_mechanism_or_statement_leaks_an_option(self, facts: pd.DataFrame):
        for _, fact in facts.rename(columns={"key": "key_"}).iterrows():
            around = fact.statement.replace("{option}", "...")
            leaks = [one for one in offered(fact) if holds(fact.mechanism, one)]
            leaks += [one for one in offered(fact) if holds(around, one)]
            assert not leaks, (fact.fact_id, leaks)

    def test_a_refutation_speaks_of_the_first_distractor_and_not_of_the_key(
        self, facts: pd.DataFrame
    ):
        for fact in facts.to_dict("records"):
            assert holds(fact["refutation"], fact["distractor_1"]), fact["fact_id"]
            assert not holds(fact["refutation"], fact["key"]), fact["fact_id"]

    def test_a_mechanism_has_enough_words_of_its_own_to_be_recognised(self, facts: pd.DataFrame):
        for fact in facts.to_dict("records"):
            own = content(fact["mechanism"]) - content(fact["statement"])
            assert len(own) >= 3, fact["fact_id"]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"statement": "no gap"}, "needs {option} once"),
            ({"statement": "{option} and {option}"}, "needs {option} once"),
            ({"mechanism": " "}, "mechanism is empty"),
            ({"fact_id": "bio002"}, "'bio002' occurs twice"),
        ],
    )
    def test_a_faulty_fact_is_named(self, facts: pd.DataFrame, change: dict, message: str):
        broken = facts.head(3).copy()
        broken.loc[0, [*change]] = [*change.values()]
        with pytest.raises(InputError, match=message):
            sample_course.check_facts(broken, "facts.csv")

    def test_a_missing_column_is_named(self, facts: pd.DataFrame):
        with pytest.raises(InputError, match=r"\['refutation'\] are missing"):
            sample_course.check_facts(facts.drop(columns="refutation"), "facts.csv")

    def test_a_limit_is_shared_evenly_by_fields_and_their_courses(self, facts: pd.DataFrame):
        chosen = sample_course.choose_facts(facts, 30)
        assert chosen.field.value_counts().to_dict() == {"biology": 10, "medicine": 10, "law": 10}
        assert chosen.course.value_counts().to_dict() == {
            "law_1": 10, "biology_1": 5, "biology_2": 5, "medicine_1": 5, "medicine_2": 5,
        }  # fmt: skip

    def test_a_smaller_limit_takes_a_part_of_the_larger_one(self, facts: pd.DataFrame):
        smaller, larger = (sample_course.choose_facts(facts, n) for n in (12, 40))
        assert set(smaller.fact_id) < set(larger.fact_id)
        assert smaller.merge(larger, on=["fact_id", "course"]).shape[0] == 12

    def test_a_limit_below_ten_is_refused(self, facts: pd.DataFrame):
        with pytest.raises(InputError, match="max_facts: 9 is less than 10"):
            sample_course.choose_facts(facts, 9)


class TestPhrasings:
    def test_no_template_is_in_two_pools(self, phrasings: dict[str, Any]):
        pools = phrasings["pools"]
        assert set(pools) == {"train", "judge", "test"}
        seen = [t for pool in pools.values() for group in pool.values() for t in set(group)]
        assert len(seen) == len(set(seen))

    def test_pools_have_the_same_kinds_of_template(self, phrasings: dict[str, Any]):
        kinds = [set(pool) for pool in phrasings["pools"].values()]
        assert kinds[0] == kinds[1] == kinds[2]

    @pytest.mark.parametrize("pool", ["judge", "test"])
    def test_no_phrase_of_judge_or_test_is_ever_read_in_training(
        self, pool: str, facts: pd.DataFrame, students: pd.DataFrame, phrasings: dict[str, Any]
    ):
        used = students.split.isin(["train", "validation"])
        lines = sample_texts.background(facts, phrasings["background"])
        read = "\n".join([*students.explanation[used], *lines]).lower()
        for fact in facts.to_dict("records"):
            options = [fact["key"], *(fact[f"distractor_{i}"] for i in range(1, 5))]
            for text in rendered(fact, options, phrasings["pools"][pool]):
                assert text.lower() not in read, text

    def test_every_split_uses_its_own_fillers(
        self, students: pd.DataFrame, phrasings: dict[str, Any]
    ):
        for split in ("train", "judge", "validation", "test"):
            told = " ".join(students.explanation[students.split == split])
            for name, pool in phrasings["pools"].items():
                used = sum(filler[1:] in told for filler in pool["fillers"])
                assert (used > 0) == (name == sample_texts.pool_of(split)), (split, name)


def rendered(fact: dict, options: list[str], pool: dict[str, list[str]]) -> list[str]:
    """Every template of the pool except fillers, filled in; connectives get their content."""
    texts = []
    for option in options:
        texts += [sample_texts.named(fact, option, t) for t in pool["names"] + pool["names_also"]]
    told = {"mechanism": fact["mechanism"], "refutation": fact["refutation"], "names": ""}
    for kind in ("mechanism_after", "mechanism_before", "mechanism_alone", "refutes"):
        texts += [template.format(**told).strip(" ,") for template in pool[kind]]
    return texts


class TestQuestions:
    def test_no_fact_is_in_two_splits_and_no_cluster_is_large(self, students: pd.DataFrame):
        assert (students.groupby("fact_id").split.nunique() == 1).all()
        sizes = students.drop_duplicates("question_id").cluster_id.value_counts(normalize=True)
        assert sizes.iloc[0] < 0.02

    def test_the_key_is_offered_once_and_the_first_distractor_always(
        self, facts: pd.DataFrame, students: pd.DataFrame
    ):
        known = facts.set_index("fact_id")
        for row in students.drop_duplicates("question_id").to_dict("records"):
            fact = known.loc[row["fact_id"]]
            texts = [plain_text(row[f"option_{c}"]) for c in "abcde"[: row["options_n"]]]
            assert texts.count(fact["key"]) == 1
            assert texts["ABCDE".index(row["key"])] == fact["key"]
            assert fact["distractor_1"] in texts

    def test_keys_are_spread_over_the_letters(self, students: pd.DataFrame):
        shares = students.drop_duplicates("question_id").key.value_counts(normalize=True)
        assert set(shares.index) == set("ABCDE")
        assert shares[list("ABCD")].between(0.15, 0.3).all()

    def test_questions_about_a_fact_do_not_depend_on_the_other_facts(
        self, rows: pd.DataFrame, few: pd.DataFrame
    ):
        assert set(few.question_id) < set(rows.question_id)

    def test_a_typo_swaps_two_letters_of_one_word(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(sample_course, "TYPO_FRAC", 1.0)
        stem = sample_course.vary_stem(
            "Which fluid carries oxygen?", ["blood"], np.random.default_rng(1)
        )
        assert stem != "Which fluid carries oxygen?"
        assert sorted(stem) == sorted("Which fluid carries oxygen?")


class TestExplanations:
    def test_there_are_enough_rows_and_every_question_has_one(self, students: pd.DataFrame):
        assert len(students) >= 2000
        assert students.groupby("question_id").student.min().eq(0).all()
        assert students.groupby("question_id").size().mean() == pytest.approx(3, abs=0.15)

    def test_are_short(self, students: pd.DataFrame):
        assert students.words_n.min() >= sample_texts.MIN_WORDS
        assert students.words_n.max() <= sample_texts.MAX_WORDS + 3
        assert (students.words_n <= sample_texts.MAX_WORDS).mean() > 0.99

    def test_about_a_fifth_is_fully_good(self, students: pd.DataFrame):
        good = students.names_key & (students.mechanism == "right") & ~students.endorses_wrong
        assert 0.19 <= good.mean() <= 0.26

    def test_latents_are_independent_of_each_other(
        self, facts: pd.DataFrame, students: pd.DataFrame
    ):
        known = ["question_id", "fact_id", "cluster_id", "split", "key", "options_n"]
        known += [f"option_{c}" for c in "abcde"]
        questions = students.drop_duplicates("question_id")[known]
        drawn = [sample_students.draw_latents(questions, facts, 3, seed) for seed in range(4)]
        rows = pd.concat(drawn)
        latents = rows[["names_key", "refutes_distractor", "endorses_wrong"]].astype(float)
        latents["right"] = (rows.mechanism == "right").astype(float)
        latents["wrong"] = (rows.mechanism == "wrong").astype(float)
        latents["fillers_n"] = rows.fillers_n
        found = latents.corr().to_numpy(copy=True)
        found[3, 4] = found[4, 3] = 0  # right and wrong exclude each other
        assert np.abs(found - np.eye(6)).max() < 0.04  # 4 standard errors of 11,000 rows

    def test_nobody_endorses_the_distractor_that_they_refute(
        self, facts: pd.DataFrame, students: pd.DataFrame
    ):
        known = {fact.fact_id: fact for fact in oracle.index(facts).facts}
        both = students[students.refutes_distractor & students.endorses_wrong]
        assert len(both) >= 100
        for row in both[both.dirt == ""].to_dict("records"):
            claimed = oracle.claimed_options(known[row["fact_id"]], row["explanation"])
            assert 1 not in claimed, row["explanation"]
            assert claimed - {0}, row["explanation"]

    def test_raters_miss_half_of_the_wrong_mechanisms_and_no_other(self, students: pd.DataFrame):
        wrong = students.mechanism == "wrong"
        assert students.is_missed[wrong].mean() == pytest.approx(0.5, abs=0.06)
        assert not students.is_missed[~wrong].any()

    def test_a_wrong_mechanism_is_another_facts_of_the_same_split(self, students: pd.DataFrame):
        wrong = students[students.mechanism == "wrong"]
        splits = students.drop_duplicates("fact_id").set_index("fact_id").split
        assert (wrong.mechanism_fact_id != wrong.fact_id).all()
        assert (wrong.mechanism_fact_id.map(splits) == wrong.split).all()

    def test_what_the_latents_ask_for_is_in_the_text(
        self, facts: pd.DataFrame, students: pd.DataFrame
    ):
        known = facts.set_index("fact_id")
        for row in students[students.dirt == ""].to_dict("records"):
            fact, text = known.loc[row["fact_id"]], row["explanation"]
            told = row["mechanism_fact_id"]
            if row["mechanism"] != "none":
                assert holds(text, known.mechanism[told])
            assert holds(text, fact["refutation"]) == row["refutes_distractor"]
            if row["names_key"]:
                assert holds(text, fact["key"])
            if row["endorses_wrong"]:
                assert holds(text, row["wrong_option"])


def invented(**changes: object) -> pd.DataFrame:
    """One student row without any content, of ten words."""
    row: dict[str, object] = {
        "question_id": "q", "student": 0, "names_key": False, "mechanism": "none",
        "is_missed": False, "refutes_distractor": False, "endorses_wrong": False, "words_n": 10,
    }  # fmt: skip
    return pd.DataFrame([{**row, **changes}])


class TestRatings:
    def test_have_the_reliability_and_the_length_bias_of_real_ones(self, students: pd.DataFrame):
        stars = sample_ratings.mean_stars(students.ratings)
        assert 0.40 <= sample_ratings.split_half_reliability(students.ratings) <= 0.50
        assert 0.23 <= sample_ratings.rank_correlation(students.words_n, stars) <= 0.37

    def test_are_whole_stars_of_ten_to_forty_raters(self, students: pd.DataFrame):
        assert students.ratings.map(len).between(10, 40).all()
        assert set(students.ratings.explode().unique()) == set(range(6))

    @pytest.mark.parametrize(
        ("change", "stars"),
        [
            ({"names_key": True}, sample_ratings.NAMES_KEY_STARS),
            ({"mechanism": "right"}, sample_ratings.MECHANISM_STARS),
            ({"mechanism": "wrong", "is_missed": True}, sample_ratings.MECHANISM_STARS),
            ({"mechanism": "wrong"}, sample_ratings.NOTICED_STARS),
            ({"refutes_distractor": True}, sample_ratings.REFUTES_STARS),
            ({"endorses_wrong": True}, sample_ratings.ENDORSES_WRONG_STARS),
            ({"words_n": 30}, 20 * 0.04),
        ],
    )
    def test_each_latent_moves_the_expected_rating_by_its_weight(self, change: dict, stars: float):
        plain, changed = (
            sample_ratings.expected_stars(invented(**one), 0.04, 1)[0] for one in ({}, change)
        )
        assert changed - plain == pytest.approx(stars)

    def test_without_noise_all_raters_agree_on_the_expected_rating(self):
        row = invented(names_key=True)
        (ratings,) = sample_ratings.rate(row, 0.0, 0.0, False, 1).ratings
        assert set(ratings) == {round(sample_ratings.expected_stars(row, 0.0, 1)[0])}

    def test_more_noise_lowers_the_reliability(self, students: pd.DataFrame):
        found = [
            sample_ratings.split_half_reliability(
                sample_ratings.rate(students, noise, 0.01, False, SEED).ratings
            )
            for noise in (0.5, 1.5, 3.0)
        ]
        assert found[0] > found[1] + 0.1 > found[2] + 0.2

    def test_shuffling_keeps_the_ratings_and_cuts_their_tie_to_the_text(
        self, students: pd.DataFrame
    ):
        plain, shuffled = (sample_ratings.rate(students, 1.5, 0.01, s, SEED) for s in (False, True))
        assert sorted(map(str, plain.ratings)) == sorted(map(str, shuffled.ratings))
        said = (students.mechanism == "right").astype(float)
        tie = [said.corr(sample_ratings.mean_stars(one.ratings)) for one in (plain, shuffled)]
        assert tie[0] > 0.25
        assert abs(tie[1]) < 0.06

    def test_split_half_reliability_by_hand(self):
        # even positions 1 2 3, odd positions 1 3 2: r = .5, Spearman-Brown 2 * .5 / 1.5 = 2/3
        ratings = pd.Series([[1, 1], [2, 3], [], [3, 2]])
        assert sample_ratings.split_half_reliability(ratings) == pytest.approx(2 / 3)

    def test_rank_correlation_by_hand(self):
        a, b = pd.Series([1, 9, 2, 3]), pd.Series([10.0, np.nan, 1000.0, 100.0])
        assert sample_ratings.rank_correlation(a, b) == pytest.approx(0.5)


class TestWhatPrepareQuestionsFinds:
    def test_the_same_questions_clusters_and_splits(
        self, rows: pd.DataFrame, prepared: tuple[pd.DataFrame, pd.DataFrame]
    ):
        columns = ["question_id", "cluster_id", "split"]
        wanted = rows[columns].drop_duplicates().sort_values("question_id", ignore_index=True)
        found = prepared[0][columns].drop_duplicates().sort_values("question_id", ignore_index=True)
        pd.testing.assert_frame_equal(found, wanted, check_dtype=False)

    def test_every_usable_row_with_the_text_and_rating_that_was_written(
        self, rows: pd.DataFrame, prepared: tuple[pd.DataFrame, pd.DataFrame]
    ):
        usable = rows[rows.is_usable]
        assert len(prepared[0]) == len(usable)
        texts = usable.explanation.map(plain_text)
        stars = sample_ratings.mean_stars(usable.ratings).fillna(-1)
        wanted = sorted(zip(usable.question_id, texts, stars, strict=True))
        found = prepared[0].assign(stars=prepared[0].question_rating_mean.fillna(-1))
        assert sorted(zip(found.question_id, found.explanation, found.stars, strict=True)) == wanted

    def test_harmless_dirt_leaves_no_trace(self, prepared: tuple[pd.DataFrame, pd.DataFrame]):
        texts = prepared[0][["stem", "option_a", "explanation"]].to_numpy().ravel()
        for trace in ("<", "&nbsp;", "\u00a0", "  ", "2^nd"):
            assert not [text for text in texts if trace in text], trace

    def test_rows_without_ratings_are_used(
        self, rows: pd.DataFrame, prepared: tuple[pd.DataFrame, pd.DataFrame]
    ):
        found = prepared[0]
        uncounted = found[found.question_ratings_n == 0]
        wanted = sample_dirt.counts(rows)
        assert uncounted.question_rating_mean.isna().sum() == wanted["unrated"] >= 5
        assert uncounted.question_rating_mean.notna().sum() == wanted["ratings_n_missing"] >= 5

    def test_every_reason_of_rejection_occurs(self, prepared: tuple[pd.DataFrame, pd.DataFrame]):
        found = prepared[1].reason.value_counts()
        assert set(found.index) == set(ALL_REASONS)
        assert found.min() >= 5

    def test_a_rejection_for_every_fault(
        self, rows: pd.DataFrame, prepared: tuple[pd.DataFrame, pd.DataFrame]
    ):
        assert set(REASONS) == {*sample_dirt.EXTRA} - sample_faults.USABLE
        wanted = rows.dirt[~rows.is_usable].map(REASONS).value_counts().to_dict()
        assert prepared[1].reason.value_counts().to_dict() == wanted
        assert (rows[~rows.is_usable].dirt.isin(REASONS)).all()

    def test_one_fault_of_each_kind_per_share(self, rows: pd.DataFrame, students: pd.DataFrame):
        count = round(PARAMS.dirt_frac * len(students))
        rare = round(sample_dirt.RARE_FRAC * count)
        wanted = dict.fromkeys([*sample_dirt.HARMLESS, "scripts", *sample_faults.COMMON], count)
        assert sample_dirt.counts(rows) == wanted | dict.fromkeys(sample_faults.RARE, rare)


class TestDirt:
    @pytest.mark.parametrize("field", ["stem", "options", "explanation"])
    def test_formulas_are_raised_and_lowered_in(self, field: str, rows: pd.DataFrame):
        options = rows[[f"option_{c}" for c in "abcde"]].fillna("").agg(" ".join, axis=1)
        texts = rows.assign(options=options)[field]
        assert texts.str.contains("<sub>|<sup>").sum() >= 20

    @pytest.mark.parametrize("tag", ["sub", "sup"])
    def test_both_kinds_of_script_are_frequent(self, tag: str, rows: pd.DataFrame):
        texts = rows[["stem", *(f"option_{c}" for c in "abcde"), "explanation"]]
        assert texts.fillna("").agg(" ".join, axis=1).str.contains(f"<{tag}>").sum() >= 20

    @pytest.mark.parametrize(
        ("text", "html"),
        [
            ("H2O and CO2.", "H<sub>2</sub>O and CO<sub>2</sub>."),
            ("H2O2", "H<sub>2</sub>O<sub>2</sub>"),
            ("vitamin B12", "vitamin B<sub>12</sub>"),
            ("the 2nd of 10^3 Ca^2+", "the 2<sup>nd</sup> of 10<sup>3</sup> Ca<sup>2+</sup>"),
            ("CD4, 5 O and C", "CD4, 5 O and C"),
        ],
    )
    def test_cleaning_takes_the_scripts_back(self, text: str, html: str):
        assert sample_dirt.with_scripts(text) == html
        assert plain_text(html) == text

    def test_what_reads_like_a_missing_value_stands_in_stems_options_and_explanations(
        self, rows: pd.DataFrame
    ):
        options = rows[[f"option_{c}" for c in "abcde"]]
        for word in ("NA", "nan"):
            assert (rows.stem == word).any()
            assert (options == word).any(axis=None)
            assert (rows.explanation == word).any()

    def test_pictures_are_written_in_small_letters_and_in_capitals(self, rows: pd.DataFrame):
        texts = rows[["stem", *(f"option_{c}" for c in "abcde")]].fillna("").agg(" ".join, axis=1)
        assert texts.str.contains("<img ").sum() >= 5
        assert texts.str.contains("<IMG ").sum() >= 5

    def test_without_a_share_no_row_is_added_or_changed(self, few: pd.DataFrame):
        plain = few[few.dirt == ""].drop(columns="dirt")
        again = sample_dirt.soil(plain, 0.0, SEED)
        assert (again.dirt == "").all()
        assert len(again) == len(plain)


class TestExports:
    def test_all_files_of_params_are_written_and_no_other(self, few: pd.DataFrame):
        names = ("file", "questions", "answers", "ratings")
        entries = GIVEN["prepare_questions"]["exports"]
        wanted = {entry[name] for entry in entries for name in names if name in entry}
        assert set(sample_exports.export(few, SEED)) == wanted

    def test_layout_a_has_the_twenty_columns_and_ids_with_leading_zeros(self, few: pd.DataFrame):
        table = sample_exports.layout_a(few[few.course == "biology_2"], SEED)
        assert len(table.columns) == 20
        assert [*table.columns] == sample_exports.LAYOUT_A_COLUMNS
        assert table.id.iloc[0] == "000001"
        assert table.id.is_unique

    def test_layout_a_counts_are_those_of_its_ratings(self, few: pd.DataFrame):
        own = few[few.course == "biology_1"]
        table = sample_exports.layout_a(own, SEED)
        own = own[~own.hides_ratings_n]
        shown = table[table.total_ratings != ""]
        assert sorted(shown.total_ratings) == sorted(own.ratings.map(len))
        assert shown.top_rating_count.sum() == own.ratings.explode().eq(5).sum()
        assert (shown.total_responses >= shown.total_ratings).all()

    def test_layout_b_means_and_counts_are_those_of_its_rating_rows(self, few: pd.DataFrame):
        tables = sample_exports.layout_b(few[few.course == "law_1"], SEED)
        questions = tables["Questions"].set_index("ID")
        given = tables["Ratings"].groupby("Question_ID").Rating
        shown = questions.Total_ratings[questions.Total_ratings != ""]
        assert given.size()[shown.index].to_dict() == shown.to_dict()
        means = questions.Avg_rating[questions.Avg_rating != ""]
        assert given.mean().round(4).to_dict() == pytest.approx(means.to_dict())
        raters = tables["Ratings"].groupby(["Question_ID", "UserID"]).size()
        assert raters.eq(1).all()

    def test_layout_b_answers_agree_with_the_key_more_often_than_not(self, few: pd.DataFrame):
        tables = sample_exports.layout_b(few[few.course == "law_1"], SEED)
        answers = tables["Answers"].merge(tables["Questions"], left_on="Question_ID", right_on="ID")
        assert 0.65 < (answers.Answer_x == answers.Answer_y).mean() < 0.85

    def test_layout_b_is_latin_1_and_not_ascii(self, rows: pd.DataFrame):
        table = sample_exports.layout_b(rows[rows.course == "law_1"], SEED)["Questions"]
        assert not sample_exports.csv_bytes(table, "iso-8859-1").isascii()

    def test_the_same_rows_give_the_same_bytes(self, facts: pd.DataFrame, few: pd.DataFrame):
        phrasings = stage.read_phrasings(stage.FACTS_DIR)
        small = sample_course.choose_facts(facts, 30)
        again = stage.make_rows(small, phrasings["pools"], PARAMS, CLUSTERING, SEED)
        assert sample_exports.export(few, SEED) == sample_exports.export(again, SEED)

    def test_another_seed_gives_another_course(self, facts: pd.DataFrame, few: pd.DataFrame):
        small = sample_course.choose_facts(facts, 30)
        pools = stage.read_phrasings(stage.FACTS_DIR)["pools"]
        other = stage.make_rows(small, pools, PARAMS, CLUSTERING, SEED + 1)
        assert set(other.explanation) != set(few.explanation)

    def test_no_clock_is_in_the_workbook(self, few: pd.DataFrame):
        content = sample_exports.export(few, SEED)["biology_1.xlsx"]
        with zipfile.ZipFile(io.BytesIO(content)) as book:
            assert {entry.date_time for entry in book.infolist()} == {sample_exports.FIXED_TIME}
            properties = book.read("docProps/core.xml").decode()
        assert properties.count("2020-01-01T00:00:00Z") == 2

    def test_the_workbook_holds_what_the_table_holds(self, few: pd.DataFrame):
        table = sample_exports.layout_a(few[few.course == "biology_1"], SEED)
        read = pd.read_excel(
            io.BytesIO(sample_exports.xlsx_bytes(table)), dtype=str, keep_default_na=False
        )
        for column in ("avg_rating", "avg_difficulty"):
            wanted = pd.to_numeric(table.pop(column))
            assert pd.to_numeric(read.pop(column)).equals(wanted.astype(float))
        pd.testing.assert_frame_equal(read, table.astype(str), check_dtype=False)


class TestBackground:
    def test_every_fact_is_read_in_several_wordings(
        self, facts: pd.DataFrame, phrasings: dict[str, Any]
    ):
        lines = sample_texts.background(facts, phrasings["background"])
        assert len(set(lines)) == len(lines) == len(facts) * len(phrasings["background"])
        assert 4 <= len(phrasings["background"]) <= 10
        count = len(phrasings["background"])
        for i, fact in enumerate(facts.to_dict("records")):
            told = [line for line in lines[i * count :][:count] if holds(line, fact["mechanism"])]
            assert len(told) >= 4
            # each says what the mechanism is about: the fact's statement, or its key
            statement = fact["statement"].format(option=fact["key"])
            named = [
                holds(line, statement) or holds(line, f"we say {fact['key']}") for line in told
            ]
            assert all(named)

    def test_no_question_and_no_students_text_is_in_it(
        self, facts: pd.DataFrame, students: pd.DataFrame, phrasings: dict[str, Any]
    ):
        text = "\n".join(sample_texts.background(facts, phrasings["background"]))
        assert "?" not in text
        assert not [one for one in facts.question if one in text]
        asked = students[students.split.isin(["judge", "test"])]
        assert not [one for one in asked.explanation if one in text]

    def test_each_line_is_whole_sentences(self, facts: pd.DataFrame, phrasings: dict[str, Any]):
        lines = sample_texts.background(facts.head(5), phrasings["background"])
        assert all(line[0].isupper() or line[0].isdigit() for line in lines)
        assert all(line.endswith(".") and ".." not in line for line in lines)


class TestStage:
    def test_a_crash_while_writing_leaves_the_old_folder(self, tmp_path: Path):
        folder = tmp_path / "course"
        stage.write_folder(folder, {"a": b"old"})
        with pytest.raises(TypeError):
            stage.write_folder(folder, {"a": b"new", "b": None})  # type: ignore[dict-item]
        assert (folder / "a").read_bytes() == b"old"

    def test_a_file_of_an_earlier_run_does_not_stay(self, tmp_path: Path):
        folder = tmp_path / "course"
        stage.write_folder(folder, {"a": b"1", "old": b"2"})
        stage.write_folder(folder, {"a": b"3"})
        assert [path.name for path in tmp_path.rglob("*")] == ["course", "a"]

    @pytest.mark.parametrize(
        ("name", "value"),
        [("rows_per_question", 0.5), ("questions_per_fact", 0), ("dirt_frac", 0.5)],
    )
    def test_an_impossible_amount_is_refused(self, name: str, value: float):
        with pytest.raises(InputError, match=f"{name}: {value}"):
            sample_course.check_amounts(GIVEN["make_sample_course"] | {name: value})
        sample_course.check_amounts(GIVEN["make_sample_course"])
