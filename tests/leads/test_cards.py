"""A points card as a file: what is refused, what it means, and that it comes back as it went."""

import re

import pytest
import yaml

from pipeline.errors import CardError
from pipeline.leads import cards
from tests import small_cards

NAN = float("nan")


def test_every_fault_is_named_at_once():
    content = small_cards.CARD | {
        "qualifies_at": "thirty",
        "kolour": "blue",
        "criteria": [
            {"name": "total", "group": "fit", "points": 1, "when": {"activity": "visit"}},
            {"name": "a", "group": "fit", "points": 1},
            {"name": "b", "group": "fit", "points": 1, "when": {"activity": "visit", "within_days": 0}},
            {"name": "c", "group": "fit", "points": 1, "when": {"all": [{"column": "industry"}, {"form": 1}]}},
            {"name": "d", "group": "fit", "points": 1, "when": {"column": "industry", "is": [], "missing": True}},
            {"name": "e", "group": "fit", "points": 1, "when": {"age_days": {}}},
        ],
    }
    with pytest.raises(CardError) as raised:
        cards.parse(content, file="small.yaml")
    lines = str(raised.value).splitlines()
    assert raised.value.exit_code == 11
    assert [line.split(": ", 2)[1].split(".when")[0] for line in lines] == [
        "qualifies_at",
        *[f"criteria.{k}" for k in (0, 1, 2, 3, 3, 4, 5)],
        "kolour",
    ]
    for word in ("valid number", "pipeline's own", "`when`, `per` or both", "exactly one of the keys", "unknown key"):
        assert word in str(raised.value)


@pytest.mark.parametrize("content", [None, [], {"card_version": 2}, {"card_version": 1, "criteria": []}])
def test_what_is_no_card_is_refused(content):
    with pytest.raises(CardError, match=r"small\.yaml"):
        cards.parse(content, file="small.yaml")


def test_a_card_comes_back_as_it_went():
    card = small_cards.card()
    assert cards.parse(cards.describe(card), file="small.yaml") == card
    assert cards.describe(card) == small_cards.CARD


@pytest.mark.parametrize("name", ["demo", "account_engagement"])
def test_the_shipped_cards_read_back_as_written(project_root, name):
    content = yaml.safe_load((project_root / "data" / "cards" / f"{name}.yaml").read_text(encoding="utf-8"))
    card = cards.parse(content, file=name)
    assert cards.describe(card) == content
    assert card.name == name


def test_what_a_card_looks_at():
    card = small_cards.card()
    assert card.columns == {"industry", "employees", "opted_in", "revenue", "has_phone"}
    assert card.kinds == {"visit", "call"}
    assert card.aged
    assert not small_cards.card(criteria=small_cards.CARD["criteria"][:5]).aged


def test_conditions_in_words():
    words = {one.name: cards.said(one.fires) for one in small_cards.card().criteria}
    assert words == {
        "Retail": "industry is retail",
        "Large": "employees at least 1000",
        "Opted in": "opted_in is true",
        "Visits": "visit within 30 days",
        "Talks": "call within 14 days and not (revenue is missing)",
        "Silent": "age in days at least 7 and visit or call at most 0 times",
    }


def test_words_are_text_whatever_yaml_takes_them_for():
    assert cards.OfColumn.model_validate({"column": "c", "is": ["a", True, 2, "007"]}).words == (
        "a",
        "true",
        "2",
        "007",
    )
    assert cards.OfColumn.model_validate({"column": "c", "is": False}).words == ("false",)


def test_a_card_cannot_be_changed():
    with pytest.raises(Exception, match="frozen"):
        small_cards.card().cap = 3.0


def test_every_key_and_every_finding_is_explained(project_root):
    from pipeline.scoring.card_lint import KINDS
    from pipeline.scoring.card_suggest import verdict

    text = (project_root / "docs" / "cards.md").read_text(encoding="utf-8")
    parts = [value for value in vars(cards).values() if isinstance(value, type) and issubclass(value, cards.Part)]
    keys = {field.alias or key for part in parts for key, field in part.model_fields.items()}
    assert len(keys) > 20
    assert not {key for key in keys if not re.search(rf"\b{key}\b", text)}
    verdicts = {verdict(*case) for case in [(1, 0, 1), (1, 1, 1), (2, 1, 1), (1, 2, 2), (-1, 1, 1), (1, NAN, NAN)]}
    assert len(verdicts) == 6
    assert not {name for name in {*KINDS, *verdicts} if f"`{name}`" not in text}


def test_the_example_of_the_documentation_is_a_card(project_root):
    text = (project_root / "docs" / "cards.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"(?ms)^```yaml$(.*?)^```$", text)
    assert cards.parse(yaml.safe_load(example), file="cards.md").name == "my_card"
