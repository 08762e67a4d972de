"""Facts derived from personal columns, so that the columns themselves can stay behind.

An e-mail address says whether a company stands behind it, a phone number says that it was given. The facts are all that
`ingest` keeps and all that the model sees; the scorer carries this module and derives the same facts from raw rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

#: Providers that hand an address to anyone, under many national endings: `yahoo.co.uk`, `hotmail.fr`, `gmx.at`.
FREE_MAIL_FAMILIES = frozenset(
    {"aim", "aol", "gmx", "hotmail", "live", "msn", "outlook", "rocketmail", "yahoo", "yandex", "ymail"}
)

#: Free providers with one or few addresses of their own.
FREE_MAIL_DOMAINS = frozenset(
    {
        "126.com",
        "163.com",
        "bk.ru",
        "bluewin.ch",
        "bol.com.br",
        "btinternet.com",
        "comcast.net",
        "fastmail.com",
        "free.fr",
        "freenet.de",
        "gmail.com",
        "googlemail.com",
        "hey.com",
        "hushmail.com",
        "icloud.com",
        "inbox.ru",
        "laposte.net",
        "libero.it",
        "list.ru",
        "mac.com",
        "mail.com",
        "mail.ru",
        "mailbox.org",
        "me.com",
        "naver.com",
        "o2.pl",
        "online.de",
        "orange.fr",
        "pm.me",
        "posteo.de",
        "proton.me",
        "protonmail.com",
        "qq.com",
        "rambler.ru",
        "rediffmail.com",
        "sapo.pt",
        "sfr.fr",
        "sina.com",
        "t-online.de",
        "tutanota.com",
        "uol.com.br",
        "verizon.net",
        "virgilio.it",
        "wanadoo.fr",
        "web.de",
        "wp.pl",
        "zoho.com",
    }
)

#: Endings that take two labels: `yahoo.co.uk` is of the family `yahoo`, `yahoo.acme.com` is not.
_TWO_LABEL_ENDINGS = r"(?:com?|net|org)\.[a-z]{2}"
_ADDRESS = r"[^@\s<>,;\"]+@((?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9])"
_FAMILY = rf"^(?:{'|'.join(sorted(FREE_MAIL_FAMILIES))})\.(?:[a-z]{{2,4}}|{_TWO_LABEL_ENDINGS})$"


def work_email(emails: pd.Series) -> pd.Series:
    """Whether an e-mail address is a company's own.

    Args:
        emails: addresses as text, any case, blanks around them ignored; missing is NaN or None.

    Returns:
        float64 Series under the same index: 1.0 an address outside the free providers listed here, 0.0 one of theirs,
        NaN where there is none or it is not an address.
    """
    text = emails.astype("str").where(emails.notna()).str.strip().str.lower()
    domain = text.str.extract(f"^{_ADDRESS}$", expand=False)
    free = domain.isin(list(FREE_MAIL_DOMAINS)) | domain.str.contains(_FAMILY, na=False)
    return pd.Series(np.where(domain.isna(), np.nan, np.where(free, 0.0, 1.0)), index=emails.index, dtype="float64")


def present(values: pd.Series) -> pd.Series:
    """Whether a value was given.

    Args:
        values: anything; missing is NaN, None or text of blanks only.

    Returns:
        float64 Series under the same index: 1.0 given, 0.0 not; never NaN.
    """
    text = values.astype("str").where(values.notna())
    return (text.notna() & (text.str.strip() != "")).fillna(False).astype("float64")


#: Fact of a contract -> the function that derives it.
FACTS: dict[str, Callable[[pd.Series], pd.Series]] = {"work_email": work_email, "present": present}


def derive(fact: str, values: pd.Series) -> pd.Series:
    """The fact `fact` of a personal column; KeyError for a fact this scorer does not know."""
    return FACTS[fact](values)
