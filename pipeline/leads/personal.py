"""What gives a person away: e-mail addresses, phone numbers and names, recognised by content.

Everything here looks at text, value by value, and says what it looks like; no value is ever part of an answer. Phone
numbers are told from dates, amounts, codes and addresses of machines by their shape alone, in three degrees:

`CERTAIN`   international with a `+`, or national with blanks, a slash or brackets: `0171 1234567`, `(555) 123-4567`
`LIKELY`    what a code might look like, too: `555-123-4567`, `0171-1234567`, `0049301234567`
`POSSIBLE`  a phone number only where nothing else in its column looks like it: `01711234567`, `612 345 678`
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import pandas as pd

CERTAIN, LIKELY, POSSIBLE = 3, 2, 1

#: An address within a text, plain, as part of a web address (`ada%40acme.example`), or spelled `ada[at]acme.example`.
EMAIL: Final = re.compile(r"[^\s@]\s?(?:@|%40|[\[(]at[\])])\s?(?:[^\s@.,;:<>()]+\.)+[^\W\d_]{2,}", re.IGNORECASE)

#: What looks like a phone number and is none: dates and times, account numbers that begin with a country, addresses of
#: machines, versions.
_DATE = r"(?:19|20)\d\d([-/. ])\d{1,2}\1\d{1,2}|\d{1,2}([-/. ])\d{1,2}\2(?:19|20)\d\d|\d{1,2}([-/.])\d{1,2}\3\d\d"
_NO_PHONE: Final = re.compile(
    rf"(?<![\d+])(?<!\d[-/.])(?:{_DATE})(?![-/.]?\d)"
    r"|\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?"
    r"|\b[A-Z]{2}\d\d(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b"
    r"|(?<![\d.])(?:0|[1-9]\d{0,2})(?:\.\d{1,3}){3}(?![\d.])"
)
_GAP = r"[\s().\-/]{0,3}"
_START, _END = r"(?<![\w.,:/+-])(?<!\d[\s.\-/])", r"(?!(?![xX]\s?\d)[^\W_]|[.,\-/]\d)"
_INTERNATIONAL: Final = re.compile(rf"(?<![\w+])\+\(?[1-9](?:{_GAP}\d){{7,14}}(?!\d)")
#: With 00 for the +, with the 0 of a national number, and as in North America.
_ABROAD: Final = re.compile(rf"{_START}\(?00[1-9](?:{_GAP}\d){{7,14}}(?!\d)")
_NATIONAL: Final = re.compile(rf"{_START}\(?0[1-9](?:{_GAP}\d){{7,10}}{_END}")
_AMERICAN: Final = re.compile(
    rf"{_START}(?:1[\s.\-]?)?(?:\([2-9]\d\d\)[\s.\-]?|[2-9]\d\d[\s.\-])\d{{3}}[\s.\-]\d{{4}}{_END}"
)
#: Without a 0 in front: groups of two or three digits; and short national numbers.
_GROUPED: Final = re.compile(
    rf"{_START}(?:[1-9]\d\d([ -])\d{{3}}\1\d{{3}}|[1-9]\d(?:([ -])\d\d)(?:\2\d\d){{2,3}}"
    rf"|0[1-9]\d{{1,3}}[ /-]\d{{4,6}}){_END}"
)
_DASHES = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u00a0\u2007\u2009\u202f", " "),
    }
)

#: Around a phone number that is a cell of its own: what it is, and the extension.
_LABEL: Final = re.compile(r"^\s*(?:tel(?:ephone|efon)?|phone|mobile|mobil|cell|fax|call)?\.?\s*:?\s*", re.IGNORECASE)
_EXTENSION: Final = re.compile(
    r"[\s,;]*(?:ext(?:ension)?\.?|x|#|app\.?|dw|durchwahl|poste)\s*:?\s*\d{1,6}\s*$", re.IGNORECASE
)

#: Frequent given names, without accents: few words are needed to tell a column of people from one of places.
_FREQUENT = """
aaron adam adrian agnieszka ahmed aisha alan albert alejandro aleksandra alessandro alex alexander alexandra alexis
ali alice alina amanda amelie amelia amir amy ana anastasia andre andrea andreas andrew andrzej angela angelika anja
anke ann anna anne annette annika anthony antoine anton antonio arjun arthur astrid barbara beata beatrice beate ben
benjamin bernd bernhard bettina birgit bjorn brandon brian bruno camille carina carl carla carlo carlos carmen carol
caroline catherine cecilia celine chantal charles charlotte chiara chloe chris christian christiane christina
christine christoph christophe christopher claire clara claudia claudio clemens cornelia cristina cynthia dagmar
daniel daniela daniele david deborah denis dennis diana diane diego dieter dimitri dirk dominik dominique donald
donna dorota doris dorothea edith eduardo edward elena eleonora eleanor elias elisa elisabeth elizabeth elke ella
elsa emil emilia emily emma emmanuel enrico eric erik erika ernst esther eugen eva evelyn fabian fabio fatima
federico felix ferdinand fernando filip florian francesca francesco francisco francois frank franz freya frida
friedrich gabriel gabriela gabriele gary george georg gerald gerd gerhard giovanni giulia giuseppe gloria gordon
greta grzegorz guido guillaume gunter gustav hanna hannah hannes hans harald harry hassan heather heidi heike
heinrich heinz helen helena helga henri henrik henry herbert hermann hugo ibrahim ines inga inge ingo ingrid irene
iris isabel isabella isabelle ivan jack jacob jacqueline jacques jakob jakub james jan jana jane janet janina jasmin
jason javier jean jeffrey jennifer jens jeremy jessica joachim joan joanna joao jochen joerg johan johann johanna
johannes john jonas jonathan jorg jorge jose josef joseph joshua juan judith julia julian juliane julie julien
juliette jurgen justin jutta kai karen karin karl karla karsten katarina katarzyna katharina katherine kathleen
kathrin katja katrin kenneth kerstin kevin khalid kim klara klaus konrad krzysztof kurt lara larry lars laura
laurent lea lena leo leon leonard leonie lina linda lisa lorenzo louis louise luca lucas lucia lucie luigi luis
luise lukas lydia magdalena maja malgorzata manfred manuel manuela mara marc marcel marcin marco marcus marek
margaret margarita maria marianne marie marina mario marion mark markus marta martha martin martina mateusz matteo
matthew matthias maurice max maximilian mehmet melanie melissa mia michael michaela michal michel michele michelle
miguel mikael mike milan mirjam mohamed mohammed monica monika moritz muhammad mustafa nadine nadja nancy natalia
natalie nathalie nicholas nick nicola nicolas nicole niklas nikolaus nina noah nora norbert oliver olivia olivier
omar oscar oskar otto pablo pamela paola paolo pascal patricia patrick patrizia paul paula paulina pedro peter petra
philip philipp philippe pierre pietro piotr rachel rainer ralf ralph ramona raphael raquel raul rebecca regina
reinhard renate ricardo riccardo richard rita robert roberto roger roland rolf roman ronald rosa rosemarie roxana
rudolf ruth ryan sabine sabrina samantha samuel sandra sara sarah scott sean sebastian sergio sharon sibylle
siegfried silke silvia simon simona simone sofia sofie sonja sophia sophie stefan stefania stefanie steffen stephan
stephanie stephen steve steven susan susanne svenja sven sylvia sylvie tamara tanja tatjana teresa theo theodor
theresa thierry thomas thorsten tiago tim timothy tina tobias tom tomas tomasz torsten udo ulrich ulrike ursula ute
uwe valentin valentina valerie vanessa vera verena veronika vicente victor victoria viktor vincent vincenzo virginie
vivian vladimir volker walter werner wilhelm william wolfgang xavier yann yannick yasmin yuki yusuf yves yvonne
zofia zoe
"""
GIVEN_NAMES: Final = frozenset(_FREQUENT.split())

#: Words that a company, a place or an office bears and a person does not.
_INSTITUTIONS = """
and und et of for the der die das academy ag agency associates association bank bv capital center centre city
college co company consulting corp corporation department digital east energy europe finance foundation gmbh global
group holding holdings hospital hotel inc industries insurance institute international kg labs limited llc llp ltd
manager management marketing media municipal national network networks new north partner partners plc product public
real region research retail sa sales sarl school sector service services sl society software solutions south spa srl
state street studio studios support systems tech technologies technology team trade union united university west
world account campaign customer director head human resources officer operations engineer executive president senior
junior chief lead january february march april may june july august september october november december monday
tuesday wednesday thursday friday saturday sunday
"""
_NO_NAME: Final = frozenset(_INSTITUTIONS.split())
_PARTICLE_WORDS = "al bin da de del della den der di do dos du el la le ten ter van von y zu zum zur"
_PARTICLES: Final = frozenset(_PARTICLE_WORDS.split())
_TITLE: Final = re.compile(r"^(?:(?:mr|mrs|ms|miss|dr|prof|herr|frau|mme|sir|dipl)\b\.?-?\s*)+", re.IGNORECASE)
_NAME_WORD: Final = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*\.?")


def has_email(text: pd.Series) -> pd.Series:
    """Whether a text holds an e-mail address. A bool Series under the same index; False where nothing is given."""
    sign = text.str.contains(r"@|%40|[\[(][aA][tT][\])]", regex=True).fillna(False).astype(bool)
    found = [sure and EMAIL.search(cell) is not None for cell, sure in zip(text, sign, strict=True)]
    return pd.Series(found, index=text.index, dtype="bool")


def phone_degree(text: pd.Series) -> pd.Series:
    """How much a text looks as if it held a phone number: `CERTAIN`, `LIKELY`, `POSSIBLE` or 0.

    An int8 Series under the same index; 0 where nothing is given.
    """
    enough = text.str.count(r"\d").fillna(0) >= 8
    degrees = [_degree(cell) if many else 0 for cell, many in zip(text, enough, strict=True)]
    return pd.Series(degrees, index=text.index, dtype="int8")


def _degree(text: str) -> int:
    text = text.translate(_DASHES)
    # A date ends the run of digits around it: a letter takes its place.
    plain = _NO_PHONE.sub("x", text)
    if _INTERNATIONAL.search(text):
        return CERTAIN
    found = 0
    for pattern in (_ABROAD, _NATIONAL, _AMERICAN):
        for match in pattern.finditer(plain):
            phone = match.group().strip()
            if re.search(r"[\s/()]", phone):
                # Blanks alone do not make a number of North America: 555 123 4567.
                found = max(found, LIKELY if pattern is _AMERICAN and "(" not in phone else CERTAIN)
            elif pattern is not _NATIONAL or re.search(r"\D", phone):
                found = max(found, LIKELY)
            elif phone == plain.strip() and len(phone) in (10, 11):
                found = max(found, POSSIBLE)
    if not found and _GROUPED.search(plain):
        found = POSSIBLE
    return found


def has_name_shape(text: pd.Series) -> pd.Series:
    """Whether a whole text has the form of a person's name: two to four capitalised words of letters.

    `Ada King`, `King, Ada`, `Dr. Ada B. King`, `ADA KING`, `Ludwig van Beethoven`. A bool Series under the same index.
    """
    fits = text.str.len().between(4, 60)
    found = [fit and _name_words(cell) is not None for cell, fit in zip(text, fits, strict=True)]
    return pd.Series(found, index=text.index, dtype="bool")


def _name_words(text: str) -> list[str] | None:
    """The words of a text that has the form of a name, folded and without title; None where it has another form."""
    parts = _TITLE.sub("", text.strip()).split()
    if len(parts) == 2 or len(parts) == 3:
        parts = [parts[0].removesuffix(","), *parts[1:]]
    if not 2 <= len(parts) <= 5:
        return None
    long = 0
    for place, part in enumerate(parts):
        if _NAME_WORD.fullmatch(part) is None:
            return None
        if part.endswith(".") and len(part) > 2:
            return None
        if not part[0].isupper():
            if part in _PARTICLES and place < len(parts) - 1:
                continue
            return None
        long += len(part) > 2
    capitalised = [part for part in parts if part[0].isupper()]
    if len(capitalised) < 2 or len(capitalised) > 4 or long < 1:
        return None
    words = [fold(part.rstrip(".")) for part in parts]
    return None if any(word in _NO_NAME for word in words) else words


def is_capitalised(text: str) -> bool:
    """Whether a text consists of two or more capitalised words, whatever they mean: `Real Estate`, `New York`."""
    words = text.split()
    return len(words) > 1 and sum(word[0].isupper() for word in words) > 1


def may_name(text: str) -> bool:
    """Whether a text is two to five words of letters, in any case: too little to go by, unless it belongs nowhere."""
    words = text.replace(",", " ").split()
    return 2 <= len(words) <= 5 and all(_NAME_WORD.fullmatch(word) for word in words)


def is_everyday(word: str) -> bool:
    """Whether a folded word says little about a person: a particle, or a word of companies, places and offices."""
    return word in _NO_NAME or word in _PARTICLES


def fold(text: str) -> str:
    """A text without case, accents and ligatures, so that one name has one form."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def share_of_emails(text: pd.Series) -> float:
    """Share of the values given that are an e-mail address, or hold one, in [0, 1]; 0 where none is given.

    Args:
        text: values as `str`; missing and blank ones do not count.
    """
    values, rows = _distinct(text)
    return _share(has_email(values), rows)


def share_of_phones(text: pd.Series) -> float:
    """Share of the values given that are a phone number and nothing else, in [0, 1]; 0 where none is given.

    International and national forms, a label before (`Tel.: `) and an extension behind included. Of plain digits only
    those count that begin with 0 and have 10 or 11 of them, or with + or 00.

    Args:
        text: values as `str`; missing and blank ones do not count.
    """
    values, rows = _distinct(text)
    bare = values.str.replace(_LABEL, "", regex=True).str.replace(_EXTENSION, "", regex=True)
    alone = bare.str.fullmatch(r"[\d\s().\-/+\u2010-\u2015\u00a0\u202f]{7,30}").fillna(False).astype(bool)
    return _share(alone & (phone_degree(bare) > 0), rows)


def share_of_names(text: pd.Series) -> float:
    """Share of the values given that look like people's names, in [0, 1]; 0 where none is given.

    A value counts if it has the form of a full name and either holds a frequent given name or is nearly alone in its
    column, as people are and places, offices and industries are not; a single word counts if it is a frequent given
    name. Columns of family names alone are not found.

    Args:
        text: values as `str`; missing and blank ones do not count.
    """
    values, rows = _distinct(text)
    if not len(values):
        return 0.0
    few = max(2, int(0.001 * rows.sum()))
    found = []
    for value, count in zip(values, rows, strict=True):
        words = _name_words(value)
        if words is None:
            found.append(fold(value.strip()) in GIVEN_NAMES)
        else:
            found.append(count <= few or any(word in GIVEN_NAMES for word in words))
    return _share(pd.Series(found, index=values.index), rows)


def _distinct(text: pd.Series) -> tuple[pd.Series, pd.Series]:
    """The values given, each once, and on how many rows each stands."""
    given = text.dropna().astype("str")
    counts = given[given.str.strip() != ""].value_counts(sort=False)
    return pd.Series(counts.index, dtype="str"), counts.reset_index(drop=True)


def _share(found: pd.Series, rows: pd.Series) -> float:
    return float(rows[found].sum() / rows.sum()) if len(rows) else 0.0
