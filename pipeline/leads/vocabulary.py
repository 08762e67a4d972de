"""What names of columns and words in cells usually mean, in the languages CRM exports come in.

A name is compared as words: `leadCreatedDate`, `Lead created date` and `lead_created_date` are the same three words,
and accents do not count. These lists only lead to guesses, each of which is written down as one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

#: The lead's key, best first.
KEYS = """
lead id|prospect id|id|lead key|lead uuid|uuid|guid|record id|object id|contact id|customer id|client id|
opportunity id|deal id|person id|user id|account id|lead number|lead no|lead nr|number|nr|no|key|kundennummer|
kunden nr|interessent id|leadnummer|identifiant|numero|codigo|klant id|case id|inquiry id|enquiry id|application id|
session id|visitor id
"""

#: Words of which one makes a column of unlike values look like a key or a reference.
ID_WORDS = "id ids uuid guid key nr no number nummer numero num identifiant identifier hash token code ref reference"

#: When a lead came to be, best first.
CREATED = """
created at|created on|created|create date|created date|creation date|date created|creation time|created time|
lead created|lead created at|lead created date|lead creation date|lead date|inquiry date|enquiry date|inquired at|
received at|received on|received|submitted at|submitted on|submission date|signup date|sign up date|signed up at|
signup at|signed up|registration date|registered at|registered on|registered|date added|added at|added on|entry date|
entered at|entered on|erstellt am|erstellt|erstelldatum|erstellungsdatum|anlagedatum|angelegt am|angelegt|
eingangsdatum|eingegangen am|eingang|anfragedatum|anfrage vom|date de creation|cree le|date creation|
fecha de creacion|fecha creacion|creado el|creado|data di creazione|data creazione|creato il|data de criacao|
criado em|aanmaakdatum|aangemaakt op|aangemaakt|utworzono|data utworzenia|first seen|first seen at|first contact|
first contact date|first touch date|opened at|open date|session start|visit date|call date|timestamp|datetime|
date time|date|datum|fecha|data|time|zeitpunkt|month date
"""

#: When a lead became a customer.
CONVERTED_DATES = """
converted at|converted on|converted date|conversion date|conversion time|date converted|date of conversion|won at|
won on|won date|date won|closed won date|closed won at|closed won on|deal won date|deal won at|signed at|signed on|
signed date|signature date|date signed|contract date|contract signed|contract signed at|contract signed on|
purchase date|purchased at|purchased on|date of purchase|order date|ordered at|first order date|first purchase date|
customer since|became customer|became customer at|became customer date|became a customer date|customer date|sale date|
sold at|sold on|enrolled at|enrolled on|enrollment date|enrolment date|activated at|subscribed at|subscription date|
deposit date|paid at|gewonnen am|abschluss am|abschlussdatum|vertragsdatum|vertrag vom|kaufdatum|gekauft am|
bestelldatum|kunde seit|konvertiert am|date de conversion|converti le|gagne le|date de signature|date d achat|
fecha de conversion|fecha de compra|convertido el|ganado el|data di conversione|data conversione|data acquisto|
conversiedatum|gewonnen op|data de conversao
"""

#: When a lead was given up.
LOST_DATES = """
lost at|lost on|lost date|date lost|closed lost date|closed lost at|closed lost on|deal lost date|disqualified at|
disqualified on|disqualified date|unqualified at|unqualified date|rejected at|rejected on|rejection date|declined at|
declined on|dropped at|dropped on|cancelled at|canceled at|cancellation date|verloren am|abgelehnt am|abgesagt am|
disqualifiziert am|perdu le|date de perte|perdido el|fecha de perdida|perso il|verloren op
"""

#: When a lead was closed, whichever way.
CLOSE_DATES = """
close date|closed date|closed at|closed on|closing date|date closed|closedate|closed time|deal close date|
decision date|decided at|decided on|geschlossen am|abgeschlossen am|date de cloture|fecha de cierre|data chiusura
"""

#: Whether a lead converted, best first.
OUTCOMES = """
converted|is converted|has converted|conversion|is won|won|has won|closed won|deal won|is customer|became customer|
is a customer|purchased|has purchased|purchase|is purchased|bought|has bought|sold|is sold|subscribed|has subscribed|
enrolled|is enrolled|enrolled flag|signed|has signed|conversion flag|converted flag|won flag|outcome|lead outcome|
target|label|y|class|success|is success|deposit|term deposit|revenue|made purchase|placed order|ordered|order placed|
accepted|accepted offer|response|responded|konvertiert|gewonnen|abschluss|gekauft|kunde geworden|ist kunde|erfolg|
converti|gagne|achete|convertido|ganado|comprado|convertito|vinto|geconverteerd|conversao|result|lead result|
final result|ergebnis|resultat|resultado|esito
"""

#: Where a lead stands in the sales process.
STATES = """
status|lead status|deal status|opportunity status|sales status|crm status|current status|lead state|stage|lead stage|
deal stage|opportunity stage|sales stage|pipeline stage|stage name|stagename|lifecycle stage|life cycle stage|phase|
sales phase|pipeline|outcome|result|lead outcome|deal outcome|disposition|verkaufsphase|statut|etape|estado|etapa|
stato|fase|ergebnis|resultado|substatus|sub status|status reason|kanban stage
"""

#: Words that say a lead was won or lost; a value that begins with a negation is never one that was won.
WON_WORDS = """
won closedwon win converted convert conversion customer client kunde kundin sold signed purchased bought success
successful gewonnen abgeschlossen verkauft gekauft konvertiert gagne gagnee ganado ganada vinto vinta cliente enrolled
subscribed paid accepted
"""
LOST_WORDS = """
lost closedlost loss verloren perdu perdue perdido perdida perso persa disqualified unqualified rejected declined
dropped cancelled canceled dead failed failure refused abgelehnt abgesagt disqualifiziert churned junk unsuccessful
"""
NEGATIONS = "not no non never kein keine nicht un pas sin senza never without"

#: Filled in with or after the outcome, whoever reads the name.
AFTERWARDS = """
won amount|amount won|won value|won revenue|lost reason|loss reason|reason lost|reason for loss|reason for losing|
closed lost reason|closed won reason|won reason|win reason|close reason|closed reason|closing reason|reason closed|
days to close|days to convert|days to conversion|time to close|time to convert|closing discount|closing discount pct|
closed amount|closed value|closed revenue|final amount|final price|invoice amount|invoice date|invoice number|
contract owner|contract value|contract amount|contract number|contract start|contract end|order value|order number|
order amount|sale amount|sale price|sales amount|verlustgrund|ablehnungsgrund|grund verloren|abschlussgrund|
auftragswert|rechnungsbetrag|motif de perte|raison de perte|motivo de perdida|closed by|won by|lost to|
lost to competitor|onboarding date|customer success manager|is closed|closed flag|hubspot deal closed won|has order|
churn date|first payment date
"""

#: Written or rewritten while a lead is worked: today's value says nothing of what was known before.
LATER = """
last modified|last modified at|last modified date|last modified by|modified at|modified date|modified on|modified|
updated at|updated on|updated|update date|last updated|last update|last activity|last activity date|last activity at|
last activity type|last notable activity|last contacted|last contact|last contact date|last contacted at|
last engagement|last engagement date|last seen|last seen at|last visit|last login|last call|last call date|
last email date|last touch|latest activity|recent activity|most recent activity|next step|next activity|
next activity date|next contact|days in stage|days since last activity|time in stage|deal value|deal amount|deal size|
amount|opportunity amount|opportunity value|expected revenue|forecast|forecast category|forecast amount|probability|
win probability|weighted amount|pipeline value|zuletzt geaendert|zuletzt geandert|letzte aktivitat|letzte aenderung|
letzte anderung|letzter kontakt|geaendert am|geandert am|auftragsvolumen|derniere activite|derniere modification|
ultima actividad|ultima modificacion|ultima attivita|close date|closed date|expected close date|closing date|owner|
lead owner|deal owner|opportunity owner|sales rep|assigned to|account manager
"""

_EMAILS = """
email|e mail|mail|email address|mail address|correo|correo electronico|courriel|mailadresse|emailadresse
"""

_PHONES = """
phone|telephone|telefon|telefonnummer|tel|mobile|mobile phone|mobil|mobilnummer|handy|handynummer|cell|cellphone|
cell phone|phone number|fax|faxnummer|telefono|movil|telefoon|whatsapp|portable|rufnummer|phonenumber
"""

_NAMES = """
first name|last name|full name|firstname|lastname|fullname|surname|given name|family name|middle name|forename|
vorname|nachname|familienname|prenom|nom|nom de famille|nombre|apellido|apellidos|cognome|nome|voornaam|achternaam|
contact name|contact person|ansprechpartner|ansprechpartnerin|kontaktperson|customer name|lead name|client name|
person name|contact|name|salutation name|imie|nazwisko|sobrenome
"""

_ADDRESSES = """
address|street|street address|postal address|home address|mailing address|strasse|hausnummer|house number|adresse|
anschrift|direccion|indirizzo|rue|address line|endereco|adres|straat|latitude|longitude
"""

_BIRTHS = """
birthday|birthdate|birth date|date of birth|dob|geburtsdatum|geburtstag|date de naissance|fecha de nacimiento|
data di nascita|geboortedatum|data de nascimento
"""

_MARKS = """
ip|ip address|ip adresse|ssn|social security number|passport|passport number|national id|tax id|iban|credit card|
card number|linkedin|linkedin url|linkedin profile|twitter|twitter handle|facebook|instagram|skype|user agent|
device id|cookie id|cookie|steuernummer|personalausweis|sozialversicherungsnummer
"""

#: Personal by name: what kind of data, and the names. A part of a longer name counts: `billing street`, `e-mail 2`.
PERSONAL = {
    "an e-mail address": _EMAILS,
    "a phone number": _PHONES,
    "a name": _NAMES,
    "an address": _ADDRESSES,
    "a date of birth": _BIRTHS,
    "a mark of one person": _MARKS,
}

#: Names with these words are of things, not of people.
OF_THINGS = """
company organisation organization firma firm account product campaign file domain page event source stage deal
opportunity project list form brand store shop city country region state industry plan package course item business
employer user software school college university unternehmen entreprise empresa azienda ad ads adset utm host site
website server browser device category segment group team department role opened sent opt clicked count num number_of
"""

#: Whole numbers under such a name stand for things, not for amounts.
CODES = """
zip zipcode postcode postal plz region area branch browser operating system systems os type code class segment
category group channel source sic naics store territory traffic id cluster bucket district department sector industry
county state country device platform medium
"""

#: Numbers under such a name cannot fall below 0.
NOT_NEGATIVE = """
age count number num total visits pages views clicks opens calls emails sessions duration seconds minutes hours days
weeks months years employees staff size headcount quantity qty times visit page downloads meetings events seats users
licenses price budget income salary revenue turnover spend mitarbeiter anzahl alter dauer umsatz besuche tage
"""

#: Word of a name -> unit.
UNITS = {
    "eur": "EUR", "euro": "EUR", "euros": "EUR", "usd": "USD", "dollar": "USD", "dollars": "USD", "gbp": "GBP",
    "chf": "CHF", "pct": "percent", "percent": "percent", "percentage": "percent", "prozent": "percent",
    "seconds": "seconds", "secs": "seconds", "sec": "seconds", "minutes": "minutes", "mins": "minutes",
    "hours": "hours", "days": "days", "tage": "days", "months": "months", "monate": "months", "years": "years",
    "age": "years", "alter": "years", "edad": "years", "employees": "people", "headcount": "people", "staff": "people",
    "mitarbeiter": "people", "km": "km", "miles": "miles", "sqm": "m²", "visits": "visits", "pages": "pages",
    "clicks": "clicks", "calls": "calls", "emails": "e-mails", "sessions": "sessions", "views": "views",
}  # fmt: skip

#: A name with such a word is of what a lead does rather than who it is.
ENGAGEMENT = """
visit visits visited page pages view views viewed click clicks clicked open opens opened session sessions download
downloads webinar webinars form forms call calls meeting meetings activity activities engagement website web email
emails event events time duration spent bounce campaign pdays previous poutcome contact contacts contacted day_of_week
month weekday weekend besuche aufrufe anrufe
"""

#: Columns of an activities table, best first.
ACTIVITY_KINDS = """
kind|activity type|event type|activity kind|event name|event|activity|type|action|name|typ|art|category|channel
"""
HAPPENED = """
happened at|occurred at|occurred on|event time|event date|event at|activity date|activity time|activity at|
performed at|start time|started at|timestamp|date|datum|time|at|when|created at|created
"""
RECORDED = """
recorded at|recorded on|recorded|logged at|logged on|entered at|entered on|inserted at|ingested at|saved at|
received at|synced at|loaded at|written at|created at|created on|created date|system time|erfasst am|gespeichert am
"""
ACTIVITY_KEYS = """
activity id|event id|id|uuid|activity key|record id
"""

#: Columns of a changes table, best first.
CHANGED_COLUMN = """
column|field|field name|column name|property|property name|attribute|feld|feldname|champ|campo|changed field
"""
CHANGED_AT = """
recorded at|changed at|changed on|change date|modified at|modified on|updated at|created at|created date|edit date|
timestamp|date|time|at|datum|geaendert am|geandert am
"""
OLD_VALUE = """
old value|oldvalue|old|previous value|from value|from|before|value before|alter wert|original value|ancienne valeur
"""
NEW_VALUE = """
new value|newvalue|new|value|to value|to|after|value after|neuer wert|nouvelle valeur
"""

#: Cells that stand for no value in any column.
_EMPTY = """
select|select...|please select|-- select --|--select--|- select -|select one|choose|choose one|bitte wählen|
bitte auswählen|n/a|n.a.|n. a.|#n/a|#na|null|nan|(null)|<null>|(blank)|undefined|not available|not specified|
not provided|not given|not set|keine angabe|k.a.|k. a.|-|--|---|–|—|?|??|.|#value!|#ref!|#div/0!|#name?|nil|\\n|
no data|(empty)|(not set)|(none)|tbd|nicht angegeben|non renseigné|sin datos
"""
#: Cells that stand for no value where numbers or times are expected; among words they may be an answer.
NO_NUMBER = frozenset({"unknown", "none", "na", "unbekannt", "keine", "missing", "not known", "inconnu", "desconocido"})

#: Country codes that look like words for missing.
COUNTRY_CODE = re.compile(r"[A-Z]{2}")

#: Times that stand for none.
EMPTY_TIMES = re.compile(
    r"^(?:0000-00-00|1900-01-01|1899-12-30|0001-01-01|9999-12-31|1970-01-01|2099-12-31)(?:[T ].*)?$"
)


def words(name: str) -> tuple[str, ...]:
    """A column's name as words: lower case, no accents, parted at capitals, digits kept."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name.replace("ß", "ss"))
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return tuple(re.findall(r"[a-z0-9]+", plain.lower()))


def phrases(text: str) -> list[str]:
    """The phrases of one of the lists above, in its order."""
    return [phrase.strip() for phrase in text.replace("\n", " ").split("|") if phrase.strip()]


EMPTY_WORDS = frozenset(phrases(_EMPTY))


def rank(name: str, text: str) -> int | None:
    """Place of a name in a list of phrases, 0 the best; None where it is none of them. Blanks do not count."""
    joined = "".join(words(name))
    for place, phrase in enumerate(phrases(text)):
        if joined == phrase.replace(" ", ""):
            return place
    return None


def holds(name: str, text: str) -> bool:
    """Whether one of the words of a name stands in a list of words."""
    return bool(set(words(name)) & set(text.split()))


def part(name: str, phrases_: Iterable[str]) -> bool:
    """Whether a phrase stands in a name as whole words."""
    padded = f" {' '.join(words(name))} "
    return any(f" {phrase} " in padded for phrase in phrases_)


def personal(name: str) -> str | None:
    """What kind of personal data a name speaks of, or None."""
    exact = [what for what, text in PERSONAL.items() if rank(name, text) is not None]
    # A word such as `mail` or `name` counts within a longer name only where that is of no thing.
    parts = [what for what, text in PERSONAL.items() if part(name, phrases(text)) and not holds(name, OF_THINGS)]
    return next(iter(exact + parts), None)


def pretty(name: str) -> str:
    """A column's name as a person would write it: `annual_revenue_eur` -> `Annual revenue eur`."""
    text = " ".join(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " ").replace(".", " ").split())
    return (text[:1].upper() + text[1:])[:200] or name


def state(value: str) -> str:
    """Whether a word of a status column means `won`, `lost` or `open`; negations of winning are losses."""
    said = words(value)
    won = bool(set(said) & set(WON_WORDS.split()))
    lost = bool(set(said) & set(LOST_WORDS.split()))
    if won and set(said) & set(NEGATIONS.split()):
        return "lost"
    if lost:
        return "lost"
    return "won" if won else "open"
