"""What names and words mean."""

import pytest

from pipeline.leads import vocabulary


@pytest.mark.parametrize("name", ["leadCreatedDate", "Lead created date", "lead_created_date", "LEAD-CREATED-DATE"])
def test_a_name_is_its_words(name):
    assert vocabulary.words(name) == ("lead", "created", "date")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("Email", "an e-mail address"),
        ("work_email_2", "an e-mail address"),
        ("E-Mail-Adresse", "an e-mail address"),
        ("Téléphone", "a phone number"),
        ("Telefon", "a phone number"),
        ("Vorname", "a name"),
        ("Prénom", "a name"),
        ("contact_first_name", "a name"),
        ("Company name", None),
        ("campaign_name", None),
        ("Straße", "an address"),
        ("date_of_birth", "a date of birth"),
        ("ip_address", "a mark of one person"),
        ("email_opened", None),
        ("industry", None),
    ],
)
def test_names_of_personal_columns(name, what):
    assert vocabulary.personal(name) == what


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("Closed Won", "won"),
        ("closed_lost", "lost"),
        ("Not converted", "lost"),
        ("Converted", "won"),
        ("Kunde", "won"),
        ("kein Kunde", "lost"),
        ("Disqualified", "lost"),
        ("Negotiation", "open"),
        ("Appointment scheduled", "open"),
    ],
)
def test_words_of_a_sales_process(word, state):
    assert vocabulary.state(word) == state


def test_names_are_ranked_by_the_list():
    assert vocabulary.rank("created_at", vocabulary.CREATED) == 0
    assert vocabulary.rank("Erstellt am", vocabulary.CREATED) is not None
    assert vocabulary.rank("industry", vocabulary.CREATED) is None
