"""What is proposed for tables that nobody has described."""

import dataclasses
import io

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ContractError, ParamsError
from pipeline.leads import leakage, proposal, tables
from pipeline.leads.contract import Resolved, parse, resolve
from pipeline.leads.proposal import Proposal, propose
from pipeline.leads.proposal_draft import Table, Wishes
from pipeline.params import load
from tests import lead_files


@pytest.fixture(scope="module")
def params(project_root):
    return load(project_root / "params.yaml")


def table(frame: pd.DataFrame, **source: str) -> Table:
    """A frame as the strict reader and the profile of an adapter hand it over."""
    cells = pd.read_csv(io.StringIO(frame.to_csv(index=False)), dtype="str", keep_default_na=False, na_values=[""])
    cells.index = pd.RangeIndex(1, len(cells) + 1)
    repeats = {name: 1 - cells[name].nunique() / max(1, cells[name].count()) for name in cells}
    return Table(cells, len(cells), repeats, {"path": "x.csv", **source})


def look(params, export: lead_files.Export | pd.DataFrame, wishes: Wishes | None = None, **more: Table) -> Proposal:
    frame = export if isinstance(export, pd.DataFrame) else export.frame
    return propose("x", {"leads": table(frame), **more}, wishes or Wishes(), params)


def understood(found: Proposal) -> Resolved:
    return resolve(parse(found.content, file="x.yaml"))


def column(found: Proposal, name: str) -> dict:
    return found.content["columns"][name]


# Files of every shape


def test_a_flat_file_without_times_with_placeholders_and_tags_written_later(params):
    found = look(params, lead_files.course_seller())
    content = found.content
    assert content["key"] == "Prospect ID" and content["time"] == {"kind": "none"}
    assert content["outcome"] == {"kind": "flag", "horizon_days": 0, "column": "Converted", "positive": "1"}
    assert column(found, "Specialization")["missing"] == ["Select"]
    assert column(found, "Tags")["known_at"] == "outcome" and column(found, "Tags")["reason"]
    assert column(found, "Last Activity")["known_at"] == "unknown"
    assert column(found, "Magazine")["role"] == "ignored"
    assert column(found, "Lead Number")["role"] == "identifier"
    assert list(found.suspects["verdict"]) == [leakage.LEAK]
    assert any("random" in sentence for sentence in found.decisions)
    assert understood(found).undecided == ["Last Activity"]


def test_opportunities_are_dated_by_one_column_and_decided_by_another(params):
    found = look(params, lead_files.opportunities())
    assert found.content["time"] == {"kind": "column", "column": "Created Date"}
    outcome = found.content["outcome"]
    assert outcome == {
        "kind": "dates",
        "horizon_days": outcome["horizon_days"],
        "closed_at": "Close Date",
        "column": "Stage",
        "positive": "Closed Won",
        "open": ["Negotiation", "Prospecting", "Qualification"],
    }
    assert column(found, "Created Date")["format"] == "%m/%d/%Y"
    assert column(found, "Contact Email") == {
        "role": "personal",
        "criterion": "Business e-mail",
        "facts": ["work_email"],
    }
    assert column(found, "Amount")["known_at"] == "unknown"
    assert {"IsWon", "Loss Reason"} == set(found.suspects["column"])


def test_contacts_with_dates_of_conversion_and_loss(params):
    found = look(params, lead_files.contacts())
    outcome = found.content["outcome"]
    assert (outcome["converted_at"], outcome["lost_at"]) == ("Became a Customer Date", "Disqualified Date")
    assert outcome["horizon_days"] in params.featurize.maturity.horizons_days
    assert {name for name in found.content["columns"] if column(found, name)["role"] == "personal"} == {
        "First Name",
        "Last Name",
        "Email",
        "Phone Number",
    }
    assert column(found, "Notes")["role"] == "ignored"
    assert column(found, "Country").get("missing") is None  # NA is Namibia
    assert column(found, "Won Amount")["known_at"] == "outcome"
    assert column(found, "Last Modified Date")["role"] == "ignored"


def test_a_german_file(params):
    frame = lead_files.german().frame
    found = propose("x", {"leads": table(frame, separator=";", decimal=",")}, Wishes(), params)
    assert found.content["key"] == "Kundennummer"
    assert found.content["outcome"]["converted_at"] == "Gewonnen am"
    assert column(found, "Erstellt am")["format"] == "%d.%m.%Y"
    assert column(found, "Umsatz EUR")["type"] == "number" and column(found, "Umsatz EUR")["unit"] == "EUR"
    assert column(found, "PLZ")["type"] == "category"
    assert column(found, "Herkunft")["missing"] == ["k.A."]
    assert column(found, "Nachname")["role"] == "personal"


def test_won_lost_and_open_in_words(params):
    found = look(params, lead_files.pipeline_report())
    assert found.content["outcome"] == {
        "kind": "flag",
        "horizon_days": 0,
        "column": "status",
        "positive": "Won",
        "open": ["Open"],
    }
    assert found.content["time"]["column"] == "date" and found.content["key"] == "row_number"
    assert column(found, "status")["values"] == ["Lost", "Open", "Won"]
    assert column(found, "region")["type"] == "category"


def test_a_wide_file(params):
    found = look(params, lead_files.wide())
    assert found.content["outcome"]["column"] == "target"
    assert column(found, "visits_copy")["reason"] == "holds the same as `visits`"
    assert column(found, "empty")["role"] == column(found, "constant")["role"] == "ignored"
    assert column(found, "days_since_contact")["missing"] == ["999"]
    assert len(found.suspects) <= 1


def test_months_that_run_down_the_file_are_a_calendar(params):
    found = look(params, lead_files.months_down())
    assert found.content["time"] == {
        "kind": "row_order",
        "calendar": {"month": "month", "day": "day", "first_year": 2000},
    }
    assert found.content["outcome"] == {"kind": "flag", "horizon_days": 0, "column": "sold", "positive": "Y"}
    shuffled = lead_files.months_down().frame.sample(frac=1, random_state=1)
    assert look(params, shuffled).content["time"] == {"kind": "none"}


def test_years_that_rise_down_the_file_show_its_order(params):
    frame = lead_files.months_down().frame.drop(columns=["month", "day"])
    frame.insert(0, "year", np.sort(np.random.default_rng(1).integers(2019, 2024, len(frame))))
    assert look(params, frame).content["time"] == {"kind": "row_order"}


def test_dates_that_cannot_be_told_apart_are_left_for_a_person(params):
    found = look(params, lead_files.undecidable())
    assert found.content["time"] == {"kind": "none"} and column(found, "created")["role"] == "ignored"
    assert any('"%d/%m/%Y"' in said and '"%m/%d/%Y"' in said for said in found.decisions)


def test_three_tables(params):
    exports = lead_files.tables_of_three()
    found = propose("x", {name: table(export.frame) for name, export in exports.items()}, Wishes(), params)
    content = found.content
    assert content["key"] == "lead_no"
    assert content["activities"] == {
        "lead": "lead",
        "kind": "type",
        "happened_at": "date",
        "recorded_at": "logged_at",
        "format": "%d.%m.%Y %H:%M",
        "kinds": {"call": {}, "meeting": {}, "page view": {}},
    }
    assert content["changes"] == {
        "lead": "lead",
        "column": "field",
        "recorded_at": "changed_at",
        "old_value": "from",
        "new_value": "to",
        "format": "%d.%m.%Y %H:%M",
    }
    assert column(found, "stage")["known_at"] == "over_time"
    assert understood(found).tracked == ["stage"]


@pytest.mark.parametrize("make", ["course_seller", "opportunities", "contacts", "pipeline_report", "wide"])
def test_a_proposal_types_the_file_it_was_made_from(params, make):
    export = getattr(lead_files, make)()
    found = look(params, export)
    typed = tables.type_leads(table(export.frame).cells, understood(found))
    assert len(typed.refused) == 0
    assert len(typed.table) + typed.set_aside == len(export.frame)


@pytest.mark.parametrize("make", ["course_seller", "opportunities", "contacts", "pipeline_report", "months_down"])
def test_every_guess_carries_a_comment(params, make):
    found = look(params, getattr(lead_files, make)())
    for name, keys in found.content["columns"].items():
        role = keys["role"]
        guessed = {"feature": ["type", "known_at", "criterion", "group"], "personal": ["role"], "ignored": ["role"]}
        for key in guessed.get(role, []):
            own = name in (found.content["time"].get("column"), found.content["time"].get("calendar", {}).get("month"))
            if own and role == "ignored" and key == "role":
                continue
            assert found.comments.get(("columns", name, key)), (name, key)
        for key in ("unit", "min", "missing", "facts"):
            assert key not in keys or found.comments.get(("columns", name, key)), (name, key)
    for key in found.content["outcome"].keys() - {"kind"}:
        assert found.comments.get(("outcome", key)), key
    assert found.comments.get(("key",))


# Choices


def small(**columns: object) -> pd.DataFrame:
    """Forty dozen leads with a number that tells a little, and the columns given, repeated."""
    random = np.random.default_rng(3)
    size = 480
    won = random.uniform(size=size) < 0.3
    base = {"visits": random.poisson(2 + won)}
    return pd.DataFrame(base | {name: np.resize(np.array(v, dtype=object), size) for name, v in columns.items()})


def test_the_outcome_that_was_asked_for(params):
    frame = small(sold=["yes", "no", "no"], answer=["A", "B", "C"])
    found = look(params, frame, Wishes(outcome="answer", positive="B"))
    assert found.content["outcome"] == {"kind": "flag", "horizon_days": 0, "column": "answer", "positive": "B"}
    assert look(params, frame).content["outcome"]["column"] == "sold"


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        (Wishes(outcome="nothing"), "no such column"),
        (Wishes(outcome="answer"), "--positive"),
        (Wishes(outcome="answer", positive="Z"), "no such value"),
        (Wishes(outcome="sold", horizon_days=30), "decided at once"),
    ],
)
def test_wishes_that_cannot_be_met(params, wishes, said):
    with pytest.raises(ParamsError, match=said):
        look(params, small(sold=["yes", "no", "no"], answer=["A", "B", "C"]), wishes)


def test_a_file_without_an_outcome_says_how_to_name_one(params):
    with pytest.raises(ContractError, match="--outcome"):
        look(params, small(colour=["red", "green", "blue"], size=["s", "m", "l", "xl"]))


def test_the_rarer_of_two_strange_words_is_taken_and_asked_about(params):
    found = look(params, small(target=["hot", "cold", "cold"]))
    assert found.content["outcome"]["positive"] == "hot"
    assert any("'hot'" in sentence for sentence in found.decisions)


def test_rows_without_an_outcome_are_open(params):
    found = look(params, small(won=["yes", "no", "no", ""]))
    assert found.content["outcome"]["open"] == [""]
    typed = tables.type_leads(table(small(won=["yes", "no", "no", ""])).cells, understood(found))
    assert typed.set_aside == 120 and len(typed.refused) == 0


def test_a_status_without_a_word_for_lost_counts_all_others_as_not_converted(params):
    found = look(params, small(stage=["Lead", "Customer", "Opportunity", "Lead"]))
    assert found.content["outcome"]["positive"] == "Customer" and "open" not in found.content["outcome"]


def test_an_e_mail_is_no_key(params):
    frame = small(won=["yes", "no", "no"])
    frame["email"] = [f"lead{k}@firm.example" for k in range(len(frame))]
    found = look(params, frame)
    assert found.content["key"] == "row_number" and column(found, "email")["role"] == "personal"


def test_personal_data_under_a_name_that_says_nothing(params):
    frame = small(won=["yes", "no", "no"])
    frame["field_7"] = [f"lead{k}@firm.example" for k in range(len(frame))]
    frame["field_8"] = [f"+49 30 {k:07d}" for k in range(len(frame))]
    found = look(params, frame)
    assert column(found, "field_7")["role"] == column(found, "field_8")["role"] == "personal"
    assert sum("field_" in sentence for sentence in found.decisions) == 2


def test_a_few_people_who_come_again_and_again_are_people_where_the_column_says_so(params):
    people = ["Anna Brel", "Peter Quint", "Zorabel Ulmquist"]
    frame = small(won=["yes", "no", "no"], contact_person=people, contact=["cellular", "telephone"])
    found = look(params, frame)
    assert column(found, "contact_person")["role"] == "personal"
    assert column(found, "contact")["role"] == "feature"
    assert not any(person in str(found) for person in people)


def test_no_word_that_looks_personal_or_stands_once_is_written_down(params):
    exports = lead_files.tables_of_three()
    activities = exports["activities"].frame.copy()
    activities.loc[:20, "type"] = [f"call with +49 30 {k:07d}" for k in range(21)]
    given = {name: table(export.frame) for name, export in exports.items()} | {"activities": table(activities)}
    found = propose("x", given, Wishes(), params)
    assert list(found.content["activities"]["kinds"]) == ["call", "meeting", "page view"]
    assert "+49" not in str(found)


def test_columns_whose_names_are_taken_after_ingest(params):
    frame = small(won=["yes", "no", "no"], label=["a", "b", "c"], position=["x", "y"], converted_at=["p", "q"])
    resolved = understood(look(params, frame))
    assert resolved.names["label"] == "label_" and resolved.names["position"] == "position_"


def test_late_columns_by_name(params):
    frame = small(won=["yes", "no", "no"], last_call=list("1234"), deal_value=["10", "20", "35", "41", "52"])
    frame["lost_reason"] = np.where(np.arange(len(frame)) % 7 == 0, "price", "time")
    found = look(params, frame)
    assert column(found, "last_call")["known_at"] == column(found, "deal_value")["known_at"] == "unknown"
    assert column(found, "lost_reason")["known_at"] == "outcome"


def test_a_column_that_would_refuse_too_many_rows_is_given_up(params, monkeypatch):
    """Whatever the typing of `ingest` refuses, a proposal does not run into it."""
    real = tables.type_leads

    def strict(cells, resolved, **how):
        typed = real(cells, resolved, **how)
        if resolved.contract.columns["colour"].type != "category":
            return typed
        bad = typed.table["row"].head(100)
        refused = pd.DataFrame(
            {"row": bad, "lead_id": "", "reason": "column `colour` holds what looks like a phone number", "raw": "{}"}
        )
        return dataclasses.replace(typed, refused=refused)

    monkeypatch.setattr(proposal.typing_, "type_leads", strict)
    found = look(params, small(won=["yes", "no", "no"], colour=["red", "green", "blue"]))
    assert column(found, "colour")["role"] == "personal"


def test_rules_that_the_file_breaks_are_not_proposed(params):
    frame = lead_files.contacts().frame.copy()
    both = frame["Became a Customer Date"] != ""
    frame.loc[both & (np.arange(len(frame)) % 3 == 0), "Disqualified Date"] = "2024-03-01 10:00"
    frame.loc[both & (np.arange(len(frame)) % 4 == 0), "Became a Customer Date"] = "2021-01-01 10:00"
    found = look(params, frame, Wishes(outcome="Became a Customer Date"))
    assert "not_with" not in column(found, "Disqualified Date")
    assert "not_before" not in column(found, "Became a Customer Date")
    assert "not_before" in column(found, "Disqualified Date")
    assert sum("which holds" in said or "another time" in said for said in found.decisions) == 2


def test_activities_without_a_date_of_conversion(params):
    export = lead_files.tables_of_three()
    frame = export["leads"].frame.drop(columns=["won_on", "lost_on"]).assign(won=np.resize(["yes", "no"], 1500))
    given = {"leads": table(frame), "activities": table(export["activities"].frame)}
    with pytest.raises(ContractError, match="activities need an outcome with a date"):
        propose("x", given, Wishes(outcome="won"), params)


def test_tables_that_do_not_refer_to_the_leads(params):
    export = lead_files.tables_of_three()
    strangers = export["activities"].frame.assign(lead="nobody")
    with pytest.raises(ContractError, match="refers to the leads"):
        propose("x", {"leads": table(export["leads"].frame), "activities": table(strangers)}, Wishes(), params)
