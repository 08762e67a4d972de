"""What looks like an address, a phone number or a name: and what only looks similar."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.leads import personal
from pipeline.leads.personal import CERTAIN, LIKELY, POSSIBLE


def text(*cells: str | None) -> pd.Series:
    return pd.Series(list(cells), dtype="str")


PHONES = {
    CERTAIN: [
        "+4930123456", "+49 (0) 171/123", "+1 (555) 123-4567 ext. 12", "tel:+1-555-010-0100 (desk)", "0049 30 1234567",
        "0171 1234567", "(555) 123-4567", "01 23 45 67 89", "030/1234567", "(030) 123 456 7", "020 7946 0958",
        "044 668 18 00", "call me at 0171 1234567, thanks", "1 (555) 123-4567", "0171\u00a01234567",
    ],
    LIKELY: [
        "555-123-4567", "555.123.4567", "555 123 4567", "1-555-123-4567", "555-123-4567x12", "0171-1234567",
        "01.23.45.67.89", "0171\u20131234567", "0049301234567",
    ],
    POSSIBLE: ["01711234567", "612 345 678", "12 34 56 78", "0815-4711"],
    0: [
        "", "12345678", "1234567890123", "5551234567", "-12345678", "00012345678", "0012345", "1,234,567",
        "1.234.567,00", "+1 000 000",
        "12 345 678", "1 000 000 000", "1 234 567,89", "10 000 - 50 000", "50 - 200", "0.123456789",
        "-0.1234567890", "1e+12345678", "3.0012345678", "52.520008, 13.404954", "2024-01-31", "20240131",
        "2024-01-31T10:00:00+02:00", "2024/01/31 23:59:59.123456", "09:00 2024-01-31", "31.01.2024 - 28.02.2024",
        "01.02.2024 - 03.04.2024", "01/02/2024 03/04/2024", "09 12 2024 10:30", "Q1 2024 / Q2 2024", "01.02.03",
        "AB-0012345678", "AB-555-123-4567", "SKU 0815-4711-22A", "2024-123-4567", "100-200-3000", "123-45-6789",
        "978-3-16-148410-0", "L0000001", "A0000001-0001", "550e8400-e29b-41d4-a716-446655440000", "1.2.3.4",
        "192.168.100.200", "v2.10.345", "DE89 3704 0044 0532 0130 00", "DE89370400440532013000",
        "GB29 NWBK 6016 1331 9268 19", "4111 1111 1111 1111", "+12345678901234567890",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("degree", "cell"), [(degree, cell) for degree, cells in PHONES.items() for cell in cells])
def test_phone_numbers_by_degree(degree: int, cell: str) -> None:
    assert personal.phone_degree(text(cell)).tolist() == [degree]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("ada@acme.example", True),
        ("ask Ada.B+x@mail.acme.example, please", True),
        ("<mailto:ada@b\u00fccher.de>", True),
        ("https://acme.example/?to=ada%40acme.example", True),
        ("ada[at]acme.example", True),
        ("ada (AT) acme.example", True),
        ("ada at acme.example", False),
        ("R&D @ home", False),
        ("@acme", False),
        ("a@b", False),
        ("I am (at) home. Yes", False),
        ("", False),
        (None, False),
    ],
)
def test_addresses(cell: str | None, expected: bool) -> None:
    assert personal.has_email(text(cell)).tolist() == [expected]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("Ada King", True),
        ("King, Ada", True),
        ("Dr. Ada B. King", True),
        ("ADA KING", True),
        ("Ludwig van Beethoven", True),
        ("Mary-Jane O'Neil", True),
        ("\u00c5sa \u00d6berg", True),
        ("Ada", False),
        ("ada king", False),
        ("Ada King 2", False),
        ("A B", False),
        ("Real Estate", False),
        ("Head of Sales", False),
        ("desk_north", False),
        ("One Two Three Four Five Six", False),
        (None, False),
    ],
)
def test_the_form_of_a_name(cell: str | None, expected: bool) -> None:
    assert personal.has_name_shape(text(cell)).tolist() == [expected]


def test_shares_are_of_the_values_given() -> None:
    cells = text("ada@acme.example", "none", None, "", "bob@acme.example", "x")
    assert personal.share_of_emails(cells) == 0.5
    cells = text("Tel.: 0171 1234567", "555-123-4567 ext 9", "01711234567", "call 0171 1234567 soon", "5551234567")
    assert personal.share_of_phones(cells) == 0.6
    for share in (personal.share_of_emails, personal.share_of_phones, personal.share_of_names):
        assert share(text(None, "", "  ")) == 0
        assert share(text()) == 0


def test_names_are_told_from_places_and_offices() -> None:
    people = [f"{a}{b} {c}{d}" for a in ("Ba", "Dra") for b in ("la", "mo") for c in ("Qu", "Vi") for d in ("en", "or")]
    assert personal.share_of_names(text(*people)) == 1
    assert personal.share_of_names(text(*["Anna King"] * 50, *["Carla Voss"] * 50)) == 1, "owners stand on many rows"
    assert personal.share_of_names(text("Anna", "Thomas", "Zo\u00eb", "Qwx")) == 0.75
    assert personal.share_of_names(text(*["Palo Alto", "Santa Cruz"] * 50)) == 0, "so do places"
    assert personal.share_of_names(text("Real Estate", "Public Sector", "software", "Acme Software GmbH")) == 0


@given(st.lists(st.one_of(st.none(), st.text(max_size=40)), max_size=8))
def test_any_text_has_an_answer_and_stays_as_it_was(cells: list[str | None]) -> None:
    given_text = text(*cells)
    before = given_text.copy()
    assert personal.has_email(given_text).dtype == bool
    assert personal.has_name_shape(given_text).dtype == bool
    assert set(personal.phone_degree(given_text)) <= {0, POSSIBLE, LIKELY, CERTAIN}
    for share in (personal.share_of_emails, personal.share_of_phones, personal.share_of_names):
        assert 0 <= share(given_text) <= 1
    pd.testing.assert_series_equal(given_text, before)


@given(st.dates(), st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d %m %Y", "%Y%m%d", "%Y-%m-%d %H:%M:%S"]))
def test_no_date_is_a_phone_number(day: object, form: str) -> None:
    assert personal.phone_degree(text(f"{day:{form}}")).tolist() == [0]


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**9), max_value=10**9))
def test_no_amount_is_a_phone_number(amount: object) -> None:
    for written in (f"{amount}", f"{amount:,}", f"{amount:,} EUR"):
        assert personal.phone_degree(text(written)).tolist() == [0]
