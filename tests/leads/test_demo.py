"""The demo CRM log and its law: the law is the truth, so the log must bear it out, and it must use records only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline.leads import contract, demo, demo_dirt, demo_law
from pipeline.leads.demo_world import DAY_SECONDS, KINDS, LATE, LEVELS, START, TRACKED, Walk, start_state, terms_of
from pipeline.params import Demo
from pipeline.scorer.facts import present, work_email

SIZE = Demo(leads=6000, months=24, dirty_share=0.015)
SEED = 11
AGES = (3, 10, 21, 45)
HORIZON = 30
DAY = pd.Timedelta(days=1)
#: An address, a number of the country code 999, or two capitalised words.
PERSON = r"@|^(?:\+999|0999|\(999\)|999-|999[0-9]{10}$)|^[A-Z][a-z]+ [A-Z]"
TABLES = ("leads", "activities", "changes")


def whole(blocks: list[demo.Block]) -> dict[str, pd.DataFrame]:
    """Blocks joined; `dirty` included."""
    return {name: pd.concat([getattr(b, name) for b in blocks], ignore_index=True) for name in (*TABLES, "dirty")}


def clean(text: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The good rows, still text."""
    return {
        name: text[name].drop(index=text["dirty"].loc[text["dirty"]["table"] == name, "row"] - 1).reset_index(drop=True)
        for name in TABLES
    }


def typed(text: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Good rows as `ingest` leaves them, by the plainest means."""
    tables = {name: frame.mask(frame == "", None) for name, frame in clean(text).items()}
    leads = tables["leads"]
    leads = leads.assign(
        **{
            name: pd.to_datetime(leads[name]).astype("datetime64[us]")
            for name in ("created_at", "converted_at", "lost_at")
        },
        **{
            name: pd.to_numeric(leads[name]).astype("float64")
            for name in ("employees", "annual_revenue_eur", "days_to_close")
        },
        budget_confirmed=leads["budget_confirmed"].map({"true": 1.0, "false": 0.0}).astype("float64"),
        has_work_email=work_email(leads["email"]),
        has_phone=present(leads["phone"]),
    )
    activities, changes = (
        tables[name].assign(
            **{
                c: pd.to_datetime(tables[name][c]).astype("datetime64[us]")
                for c in tables[name]
                if str(c).endswith("_at")
            }
        )
        for name in ("activities", "changes")
    )
    return {"leads": leads, "activities": activities, "changes": changes}


def snapshots(leads: pd.DataFrame, end: pd.Timestamp) -> pd.DataFrame:
    """Leads still open at each age, where the horizon has passed by `end`; `label` and `as_of` beside their columns."""
    frames = []
    for age in AGES:
        as_of = leads["created_at"].dt.floor("D") + age * DAY
        closed = leads["converted_at"].fillna(leads["lost_at"])
        label = (leads["converted_at"] > as_of) & (leads["converted_at"] <= as_of + HORIZON * DAY)
        rows = leads.assign(as_of=as_of, label=label.astype(int))
        frames.append(rows[~(closed <= as_of) & (as_of + HORIZON * DAY <= end)])
    return pd.concat(frames).sort_values(["lead_id", "as_of"], ignore_index=True)


def read_contract() -> contract.Resolved:
    path = Path(__file__).parents[2] / "data" / "contracts" / "demo.yaml"
    return contract.resolve(contract.parse(yaml.safe_load(path.read_text(encoding="utf-8")), file=path.name))


def auc(label: np.ndarray, score: np.ndarray) -> float:
    rank = pd.Series(score).rank().to_numpy()
    positives = label.sum()
    return (rank[label == 1].sum() - positives * (positives + 1) / 2) / (positives * (len(label) - positives))


@pytest.fixture(scope="module")
def text() -> dict[str, pd.DataFrame]:
    return whole(list(demo.generate(SIZE, SEED)))


@pytest.fixture(scope="module")
def tables(text: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return typed(text)


@pytest.fixture(scope="module")
def rows(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Snapshots of every second lead: half the time, and no less spread over the history."""
    return snapshots(tables["leads"].iloc[::2], demo.extracted_at(SIZE))


@pytest.fixture(scope="module")
def truth(tables: dict[str, pd.DataFrame], rows: pd.DataFrame) -> pd.DataFrame:
    return law(tables, rows, paths=24)


def law(tables: dict[str, pd.DataFrame], rows: pd.DataFrame, **changed: int) -> pd.DataFrame:
    options = {"horizon_days": HORIZON, "paths": 64, "seed": 5} | changed
    return demo_law.law(rows, tables["activities"], tables["changes"], rows["as_of"], **options)


# The log


def test_same_seed_same_text() -> None:
    size = Demo(leads=300, months=8, dirty_share=0.02)
    first, again, other = (whole(list(demo.generate(size, seed))) for seed in (3, 3, 4))
    for name in first:
        pd.testing.assert_frame_equal(first[name], again[name])
    assert not first["leads"].equals(other["leads"])


def test_size_and_shape(text: dict[str, pd.DataFrame], tables: dict[str, pd.DataFrame]) -> None:
    leads = tables["leads"]
    assert len(leads) == SIZE.leads
    assert list(text["leads"]) == demo.LEAD_COLUMNS
    assert list(text["activities"]) == demo.ACTIVITY_COLUMNS
    assert list(text["changes"]) == demo.CHANGE_COLUMNS
    assert 13 < len(tables["activities"]) / len(leads) < 18
    assert set(tables["activities"]["kind"]) == set(KINDS)
    for name in TABLES:
        assert {str(kind) for kind in text[name].dtypes} == {"str"}
        assert not text[name].isna().any().any()

    won, lost = leads["converted_at"].notna(), leads["lost_at"].notna()
    assert 0.15 < won.mean() < 0.45
    assert lost.mean() > 0.3
    assert (~won & ~lost).mean() > 0.04
    assert not (won & lost).any()
    delay = (leads["converted_at"] - leads["created_at"]) / DAY
    assert delay.min() < 5
    assert delay.max() > 150
    assert set(leads.loc[lost, "loss_reason"].dropna()) == set(demo.LOSS_REASONS)


def test_times_keep_their_order(tables: dict[str, pd.DataFrame]) -> None:
    leads, activities, changes = (tables[name] for name in TABLES)
    end = demo.extracted_at(SIZE)
    assert leads["created_at"].is_monotonic_increasing
    assert (leads["created_at"] >= pd.Timestamp(START)).all()
    assert leads["lead_id"].is_unique
    assert activities["activity_id"].is_unique
    by_lead = leads.set_index("lead_id")
    closed = by_lead["converted_at"].fillna(by_lead["lost_at"]).fillna(end)
    assert (activities["happened_at"] > activities["lead_id"].map(by_lead["created_at"])).all()
    assert (activities["happened_at"] < activities["lead_id"].map(closed)).all()
    assert (activities["recorded_at"] >= activities["happened_at"]).all()
    assert (activities["recorded_at"] < end).all()
    assert (changes["recorded_at"] > changes["lead_id"].map(by_lead["created_at"])).all()
    assert (changes["recorded_at"] < end).all()
    for name in ("happened_at", "recorded_at"):
        assert (activities[name] != activities[name].dt.floor("D")).all(), (
            "a record at midnight is neither before nor after it"
        )
    late = activities["recorded_at"].dt.floor("D") - activities["happened_at"].dt.floor("D")
    assert set(activities["kind"][late > 0 * DAY]) == set(LATE)
    assert (late > 0 * DAY).mean() > 0.02


def test_leads_hold_the_newest_value_of_their_changes(text: dict[str, pd.DataFrame]) -> None:
    good = clean(text)
    leads, changes = good["leads"].set_index("lead_id"), good["changes"]
    assert set(changes["column"]) == {*TRACKED, "contract_owner"}
    in_order = changes.sort_values("recorded_at", kind="stable")
    newest = in_order.groupby(["lead_id", "column"])["new_value"].last()
    for (lead, column), value in newest.items():
        assert leads.at[lead, column] == value
    chained = in_order["new_value"].groupby([in_order["lead_id"], in_order["column"]]).shift()
    assert (in_order["old_value"][chained.notna()] == chained.dropna()).all()
    assert (changes["old_value"] != changes["new_value"]).all()


def test_leaks_are_filled_only_with_the_outcome(text: dict[str, pd.DataFrame]) -> None:
    leads = clean(text)["leads"]
    still_open = (leads["converted_at"] == "") & (leads["lost_at"] == "")
    for column in demo.LEAKS:
        assert (leads.loc[still_open, column] == "").all()
        assert (leads.loc[~still_open, column] != "").mean() > 0.2


def test_new_categories_appear_only_late(tables: dict[str, pd.DataFrame]) -> None:
    leads = tables["leads"]
    late = pd.Timestamp(START) + (demo.extracted_at(SIZE) - pd.Timestamp(START)) * demo.NEWCOMERS_FROM
    for column, value in demo.NEWCOMERS.items():
        since = leads.loc[leads[column] == value, "created_at"]
        assert len(since) > 10
        assert (since >= late.floor("D")).all()


def test_a_block_follows_from_its_number_alone() -> None:
    size = Demo(leads=demo.BLOCK_LEADS + 40, months=12, dirty_share=0.015)
    second = list(demo.generate(size, SEED))[1]
    alone = demo._clean(size, SEED, 1)
    good = clean(whole([second]) | {"dirty": second.dirty.assign(row=_within(second))})
    for name in TABLES:
        pd.testing.assert_frame_equal(good[name], alone[name])


def _within(block: demo.Block) -> pd.Series:
    """Row numbers of the dirty rows of the second block, counted from its own first row."""
    first = next(iter(demo.generate(Demo(leads=demo.BLOCK_LEADS + 40, months=12, dirty_share=0.015), SEED)))
    return block.dirty["row"] - block.dirty["table"].map({name: len(getattr(first, name)) for name in TABLES}).astype(
        "int64"
    )


# The dirt


def test_dirt_leaves_the_good_rows_alone() -> None:
    sizes = [Demo(leads=1500, months=10, dirty_share=share) for share in (0.0, 0.02)]
    spotless, soiled = (whole(list(demo.generate(size, SEED))) for size in sizes)
    assert spotless["dirty"].empty
    for name, good in clean(soiled).items():
        pd.testing.assert_frame_equal(good, spotless[name])


def test_every_dirty_row_is_named_with_its_kind(text: dict[str, pd.DataFrame]) -> None:
    dirty = text["dirty"]
    assert not dirty.duplicated(["table", "row"]).any()
    assert set(dirty["kind"]) == set(demo.DIRTY_KINDS)
    for kind, table in zip(dirty["kind"], dirty["table"], strict=True):
        assert demo_dirt.KINDS[kind][0] == table
    for name in TABLES:
        rows = dirty.loc[dirty["table"] == name, "row"]
        assert rows.between(1, len(text[name])).all()
        assert 0.01 < len(rows) / len(text[name]) < 0.02


def test_dirty_rows_show_what_their_kind_says(text: dict[str, pd.DataFrame]) -> None:
    dirty, end = text["dirty"], demo.extracted_at(SIZE)
    good = clean(text)
    known = set(good["leads"]["lead_id"])
    created = pd.to_datetime(good["leads"].set_index("lead_id")["created_at"])

    def of(kind: str) -> pd.DataFrame:
        rows = dirty.loc[dirty["kind"] == kind, "row"] - 1
        assert len(rows) > 0
        return text[demo_dirt.KINDS[kind][0]].loc[rows]

    def moment(frame: pd.DataFrame, column: str) -> pd.Series:
        return pd.to_datetime(frame[column])

    for kind, column in (("lead_key_repeated", "lead_id"), ("activity_id_repeated", "activity_id")):
        assert (of(kind)[column].value_counts() == 2).all()
    for kind, column in (
        ("lead_key_missing", "lead_id"),
        ("created_at_missing", "created_at"),
        ("activity_id_missing", "activity_id"),
        ("change_recorded_at_missing", "recorded_at"),
    ):
        assert (of(kind)[column] == "").all()
    for kind, column in (("created_at_unreadable", "created_at"), ("activity_happened_at_unreadable", "happened_at")):
        assert pd.to_datetime(of(kind)[column], format="ISO8601", errors="coerce").isna().all()
    assert (moment(of("created_after_extraction"), "created_at") > end).all()
    assert (moment(of("activity_after_extraction"), "recorded_at") > end).all()
    assert (of("employees_negative")["employees"].astype(float) < 1).all()
    assert pd.to_numeric(of("employees_not_a_number")["employees"], errors="coerce").isna().all()
    assert (of("revenue_negative")["annual_revenue_eur"].astype(float) < 0).all()
    for kind, column in (("converted_before_created", "converted_at"), ("lost_before_created", "lost_at")):
        assert (moment(of(kind), column) < moment(of(kind), "created_at")).all()
    assert (of("converted_and_lost")[["converted_at", "lost_at"]] != "").all().all()
    assert not of("country_unknown")["country"].isin(LEVELS["country"]).any()
    assert of("email_in_industry")["industry"].str.contains("@").all()
    assert of("phone_in_region")["region"].str.startswith("+999").all()
    assert not of("budget_not_yes_or_no")["budget_confirmed"].isin(["", "true", "false"]).any()
    assert of("activity_of_dirty_lead")["lead_id"].isin(set(text["leads"]["lead_id"]) - known).all()
    assert not of("activity_of_unknown_lead")["lead_id"].isin(set(text["leads"]["lead_id"])).any()
    assert not of("change_of_unknown_lead")["lead_id"].isin(set(text["leads"]["lead_id"])).any()
    early = of("activity_recorded_before_it_happened")
    assert (moment(early, "recorded_at") < moment(early, "happened_at")).all()
    assert not of("activity_kind_unknown")["kind"].isin(KINDS).any()
    for kind in ("activity_before_its_lead", "change_before_its_lead"):
        assert (moment(of(kind), "recorded_at") < of(kind)["lead_id"].map(created)).all()
    assert not of("change_of_unknown_column")["column"].isin(demo.LEAD_COLUMNS).any()

    names, addresses = set(good["leads"]["full_name"]), set(good["leads"]["email"])
    for kind, column in (
        ("name_in_budget", "budget_confirmed"),
        ("name_in_department", "department"),
        ("name_in_campaign", "campaign"),
        ("name_in_change", "new_value"),
    ):
        assert of(kind)[column].isin(names).all()
    assert of("name_in_activity_kind")["kind"].str.removeprefix("call with ").isin(names).all()
    assert not of("stranger_in_tech_stack")["tech_stack"].isin(names | {""}).any()
    for kind, column in (
        ("phone_in_source", "source"),
        ("phone_in_employees", "employees"),
        ("phone_in_revenue", "annual_revenue_eur"),
        ("phone_in_activity_kind", "kind"),
        ("phone_in_change", "old_value"),
    ):
        assert (of(kind)[column].str.count("[0-9]") >= 10).all()
        assert of(kind)[column].str.contains("999", regex=False).all()
    assert (
        of("phone_in_revenue")["annual_revenue_eur"]
        == of("phone_in_revenue")["phone"].str.replace(r"\D", "", regex=True)
    ).all()
    for kind in ("email_as_lead_key", "email_as_activity_lead"):
        assert (of(kind)["lead_id"].isin(addresses) | of(kind)["lead_id"].str.endswith("@post.example")).all()


def test_a_dirty_lead_breaks_one_declaration_of_the_contract(text: dict[str, pd.DataFrame]) -> None:
    """Checked here by the plainest means; good leads break none, so nothing good needs to go with the dirty."""
    leads, end = text["leads"], demo.extracted_at(SIZE)
    names = set(leads["full_name"])
    times = {
        name: pd.to_datetime(leads[name], format="ISO8601", errors="coerce")
        for name in ("created_at", "converted_at", "lost_at")
    }
    broken = []
    for name, column in read_contract().contract.columns.items():
        given = leads[name] != ""
        number = pd.to_numeric(leads[name], errors="coerce")
        if column.required:
            broken.append(~given)
        if column.unique:
            broken.append(given & leads[name].duplicated(keep=False))
        if column.type == "timestamp":
            broken.append((given & times[name].isna()) | (times[name] > end))
        if column.type in ("number", "integer"):
            broken.append(given & number.isna())
        if column.type == "boolean":
            broken.append(given & ~leads[name].isin(["true", "false"]))
        if column.values is not None:
            broken.append(given & ~leads[name].isin(column.values))
        if column.min is not None:
            broken.append(number < column.min)
        if column.not_before is not None:
            broken.append(times[name] < times[column.not_before])
        if column.not_with is not None:
            broken.append(given & (leads[column.not_with] != ""))
        # An open list, a key and a number break none of these, whoever they name.
        if column.role != "personal" and column.values is None and column.type not in ("boolean", "timestamp"):
            broken.append(leads[name].isin(names) | leads[name].str.contains(PERSON))
    faults = np.sum(broken, axis=0)
    dirty = text["dirty"].loc[text["dirty"]["table"] == "leads", "row"].to_numpy() - 1
    assert (faults[dirty] == 1).all()
    assert faults.sum() == len(dirty)


def test_activities_of_dirty_leads_are_otherwise_good(text: dict[str, pd.DataFrame]) -> None:
    """They go because their lead goes, and for no other reason."""
    dirty = text["dirty"]
    rows = text["activities"].loc[dirty.loc[dirty["kind"] == "activity_of_dirty_lead", "row"] - 1]
    created = pd.to_datetime(text["leads"]["created_at"], format="ISO8601", errors="coerce")
    created = created.groupby(text["leads"]["lead_id"]).min()
    assert len(rows) > 100
    assert rows["kind"].isin(KINDS).all()
    assert not (pd.to_datetime(rows["happened_at"]) < rows["lead_id"].map(created)).any()
    assert (pd.to_datetime(rows["recorded_at"]) >= pd.to_datetime(rows["happened_at"])).all()


# The contract


def test_contract_describes_the_log(tables: dict[str, pd.DataFrame]) -> None:
    resolved = read_contract()
    columns = resolved.contract.columns
    assert set(columns) == set(demo.LEAD_COLUMNS)
    assert list(resolved.contract.activities.kinds) == list(KINDS)
    assert set(resolved.tracked) == set(TRACKED)
    assert set(demo.LEAKS) <= set(resolved.excluded)
    assert {name for name, column in columns.items() if column.role == "personal"} == {"full_name", "email", "phone"}
    assert resolved.contract.outcome.horizon_days == HORIZON
    leads = tables["leads"]
    for name, column in columns.items():
        if column.values is not None:
            assert set(leads[name].dropna()) <= set(column.values)
        if column.required:
            assert leads[name].notna().all()
        if column.min is not None:
            assert (pd.to_numeric(leads[name]).dropna() >= column.min).all()
        if column.not_before is not None:
            assert not (leads[name] < leads[column.not_before]).any()
        if column.not_with is not None:
            assert not (leads[name].notna() & leads[column.not_with].notna()).any()


# The law


def test_base_rate_is_the_laws(rows: pd.DataFrame, truth: pd.DataFrame) -> None:
    excess = (rows["label"] - truth["probability"]).groupby(rows["lead_id"]).sum()
    assert abs(excess.sum()) < 2 * np.sqrt((excess**2).sum())
    assert 0.08 < rows["label"].mean() < 0.16


def test_law_is_calibrated_in_every_tenth(rows: pd.DataFrame, truth: pd.DataFrame) -> None:
    tenth = pd.qcut(truth["probability"], 10, labels=False)
    excess = rows["label"] - truth["probability"]
    for k in range(10):
        mine = excess[tenth == k].groupby(rows["lead_id"]).sum()
        assert abs(mine.sum()) < 3.5 * np.sqrt((mine**2).sum())


def test_law_is_informative_and_hard(rows: pd.DataFrame, truth: pd.DataFrame) -> None:
    assert 0.75 < auc(rows["label"].to_numpy(), truth["probability"].to_numpy()) < 0.88


def test_standard_error_is_the_spread_between_seeds(tables: dict[str, pd.DataFrame], rows: pd.DataFrame) -> None:
    some = rows.iloc[::150]
    runs = [law(tables, some, seed=seed, paths=40) for seed in range(12)]
    spread = np.var([run["probability"] for run in runs], axis=0, ddof=1)
    stated = np.mean([run["standard_error"] ** 2 for run in runs], axis=0)
    assert 0.8 < spread.sum() / stated.sum() < 1.25


def test_law_knows_nothing_recorded_later(tables: dict[str, pd.DataFrame], rows: pd.DataFrame) -> None:
    """Delete everything recorded after the as-of date, roll columns back: the law does not move by a bit."""
    some = rows.groupby("lead_id").sample(1, random_state=1).iloc[::10].reset_index(drop=True)
    as_of = some.set_index("lead_id")["as_of"]
    before = law(tables, some)
    cut = {name: t[~(t["recorded_at"] > t["lead_id"].map(as_of))] for name, t in tables.items() if name != "leads"}
    later = tables["changes"][tables["changes"]["recorded_at"] > tables["changes"]["lead_id"].map(as_of)]
    first = later.sort_values("recorded_at").drop_duplicates(["lead_id", "column"])
    back = some.assign(converted_at=pd.NaT, lost_at=pd.NaT)
    for column in TRACKED:
        old = first[first["column"] == column].set_index("lead_id")["old_value"]
        at = back["lead_id"].isin(old.index)
        values = back.loc[at, "lead_id"].map(old)
        if column == "budget_confirmed":
            values = values.map({"true": 1.0, "false": 0.0})
        back.loc[at, column] = values if column == "status" else pd.to_numeric(values).astype("float64")
    assert len(later) > 50
    pd.testing.assert_frame_equal(law(cut, back), before)


def test_law_uses_what_was_recorded(tables: dict[str, pd.DataFrame], rows: pd.DataFrame) -> None:
    some = rows.iloc[::40]
    silent = tables | {"activities": tables["activities"].iloc[:0], "changes": tables["changes"].iloc[:0]}
    assert (law(tables, some)["probability"] - law(silent, some)["probability"]).abs().mean() > 0.02


def test_state_rebuilt_from_the_tables_is_the_state_the_leads_lived() -> None:
    """No hidden trait: all that the next day depends on can be read off the records."""
    size = Demo(leads=600, months=10, dirty_share=0.0)
    text = whole(list(demo.generate(size, SEED)))
    tables = typed(text)
    records = demo_law.read(tables["leads"], tables["activities"], tables["changes"])

    people = demo.people(size, SEED, 0)
    day = (people["created_at"].to_numpy("datetime64[s]") - START).astype("int64") // DAY_SECONDS
    log = demo.Log(np.zeros(600, dtype="int64"), np.zeros(600, dtype="int64"))
    rng = np.random.default_rng(np.random.SeedSequence([SEED, 0, 2]))
    seen = 0
    terms = terms_of(people)
    for name in ("fit", "pricing", "lose", "budget", "send", "talk", "enrich"):
        np.testing.assert_array_equal(getattr(terms, name), getattr(records.terms, name))
    for age, (alive, state) in enumerate(
        demo.live(Walk(terms, start_state(people, day)), demo.last_day(size), log, rng)
    ):
        if age not in (1, 2, 7, 30, 31, 90):
            continue
        rebuilt = demo_law.state_at(records, alive, state.day)
        np.testing.assert_array_equal(rebuilt.age, state.age)
        np.testing.assert_allclose(rebuilt.decayed, state.decayed, rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(rebuilt.pricing_week, state.pricing_week)
        for name in ("employees", "status", "budget", "enriched"):
            np.testing.assert_array_equal(getattr(rebuilt, name), getattr(state, name))
        seen += len(alive)
    assert seen > 2000


def test_law_refuses_what_it_cannot_answer(tables: dict[str, pd.DataFrame], rows: pd.DataFrame) -> None:
    some = rows.head(3)
    for wrong, message in (
        (some.assign(as_of=some["as_of"] + pd.Timedelta(hours=1)), "midnight"),
        (some.assign(as_of=some["created_at"].dt.floor("D")), "before"),
    ):
        with pytest.raises(ValueError, match=message):
            law(tables, wrong)
    with pytest.raises(ValueError, match="paths"):
        law(tables, some, paths=1)
    with pytest.raises(ValueError, match="industry"):
        law(tables, some.assign(industry="alchemy"))
