"""Great Expectations: a suite derived from the contract, run over the ingested tables, and its Data Docs.

Raw values of failing rows stay in memory and in this module: what is logged, stored and rendered are counts. Nothing of
the library's own is left behind: no project folder, no identifier of the machine, no message home.
"""

from __future__ import annotations

import html
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from pipeline import process
from pipeline.adapters.files import write_text
from pipeline.errors import ArtefactError, ContractError
from pipeline.leads.contract import ROW, Resolved
from pipeline.leads.declarations import Declaration, Table, declare, flags, look_across, parts
from pipeline.leads.quarantine import LEAD_QUARANTINED, LEAD_REFUSED
from pipeline.leads.tables import TABLES
from pipeline.scorer import checks

# The library reads the environment once, when it is loaded; telemetry is off before that.
process.configure_environment()
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import great_expectations as gx
    from great_expectations import expectations as gxe
    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.registry import get_expectation_impl
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaSectionView

#: Rows that the library holds at once.
CHUNK = 500_000

#: The library renders by column, so what it judges by several is shown as if it were about one.
_STAND_IN = "expect_column_values_to_not_be_null"


@dataclass(frozen=True)
class Checked:
    """What the suite found.

    `failed`: table, row, reason; one line per row and broken declaration, in order of table, row and declaration.
    `summary`: table, column, expectation, about, rows (checked), failed; one line per expectation. `pages`: table ->
    the library's own result, counts only.
    """

    failed: pd.DataFrame
    summary: pd.DataFrame
    pages: dict[str, Any]


def check(
    tables: Mapping[str, Table],
    resolved: Resolved,
    newest: pd.Timestamp | None,
    *,
    refused_leads: pd.Series | None = None,
    drop: str | None = None,
) -> Checked:
    """Run the suite that follows from a contract.

    Args:
        tables: `leads`, `activities` and `changes` as `ingest` left them, whole or in parts.
        resolved: the contract.
        newest: newest recorded moment of the source; None where it has no times.
        refused_leads: keys of leads that could not be read; what belongs to them is not at fault.
        drop: id of one declaration to leave out (`leads.employees.min`), to see what it alone keeps away.

    Raises:
        ArtefactError: a column is missing or is not held as its type, so that rows cannot be judged.
        ContractError: a declaration cannot be checked, or `drop` names none.
    """
    declared = declare(resolved, newest)
    if drop is not None:
        if drop not in {one.id for one in declared}:
            raise ContractError(f"contract {resolved.name} declares no `{drop}`.")
        declared = [one for one in declared if one.id != drop]
    for name in TABLES:
        _all_there(name, next(iter(parts(tables[name]))), declared)
    across = look_across(tables, declared, refused_leads)

    context = _context()
    failed, summary, pages = [], [], {}
    for place, name in enumerate(TABLES):
        mine = [one for one in declared if one.table == name]
        if not mine:
            continue
        suite = gx.ExpectationSuite(name=name, expectations=[_expectation(one) for one in mine])
        asset = context.data_sources.add_pandas(name).add_dataframe_asset(name)
        batches = asset.add_batch_definition_whole_dataframe("rows")
        counts = {one.id: _Count() for one in mine}
        rows = 0
        for part in tqdm(_chunks(tables[name]), desc=f"check {name}", unit="part", disable=None, leave=False):
            kept = flags(name, part, resolved, mine, newest, across)
            with warnings.catch_warnings():
                # A strategist's pattern may have groups.
                warnings.filterwarnings("ignore", "This pattern is interpreted as a regular expression", UserWarning)
                result = batches.get_batch({"dataframe": _batch(part, mine, kept)}).validate(
                    suite,
                    result_format={
                        "result_format": "COMPLETE",
                        "unexpected_index_column_names": [ROW],
                        "return_unexpected_index_query": False,
                    },
                )
            for outcome in result.results:
                counts[outcome.expectation_config.meta["id"]].add(outcome)
            rows += len(part)
        _held_as_declared(name, mine, counts)
        for order, one in enumerate(mine):
            failing = np.concatenate([np.empty(0, dtype="int64"), *counts[one.id].failing])
            failed.append(pd.DataFrame({"place": place, ROW: failing, "order": order}))
            summary.append((name, one.column, one.rule, one.about, rows, len(failing)))
        pages[name] = _page(name, mine, counts, rows)

    return Checked(
        failed=_named(failed, declared),
        summary=pd.DataFrame(summary, columns=["table", "column", "expectation", "about", "rows", "failed"]),
        pages=pages,
    )


def _named(failed: list[pd.DataFrame], declared: list[Declaration]) -> pd.DataFrame:
    """Rows that failed, held as numbers (place of the table, row, place of the declaration), in order and in words."""
    none = pd.DataFrame({"place": [], ROW: [], "order": []}, dtype="int64")
    found = pd.concat([none, *failed]).sort_values(["place", ROW, "order"], ignore_index=True)
    reasons = [[one.reason for one in declared if one.table == name] for name in TABLES]
    table = np.array(TABLES, dtype=object)[found["place"]]
    reason = [reasons[place][order] for place, order in zip(found["place"], found["order"], strict=True)]
    return pd.DataFrame(
        {"table": pd.Series(table, dtype="str"), ROW: found[ROW], "reason": pd.Series(reason, dtype="str")}
    )


# Suite and batches


def _context() -> Any:
    """A context that lives in memory, is silent and leaves nothing on disk."""
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def _expectation(one: Declaration) -> Any:
    said = {"meta": {"id": one.id, "reason": one.reason}, "description": one.about}
    if one.own is not None:
        return get_expectation_impl(one.own)(**one.limit, **said)
    match one.rule:
        case "held_as":
            return gxe.ExpectColumnValuesToBeOfType(column=one.column, type_=one.limit, **said)
        case "required":
            return gxe.ExpectColumnValuesToNotBeNull(column=one.column, **said)
        case "finite":
            largest = checks.LARGEST
            return gxe.ExpectColumnValuesToBeBetween(column=one.column, min_value=-largest, max_value=largest, **said)
        case "min":
            return gxe.ExpectColumnValuesToBeBetween(column=one.column, min_value=one.limit, **said)
        case "max":
            return gxe.ExpectColumnValuesToBeBetween(column=one.column, max_value=one.limit, **said)
        case "values":
            return gxe.ExpectColumnValuesToBeInSet(column=one.column, value_set=list(one.limit), **said)
        case _:
            return gxe.ExpectColumnValuesToBeInSet(column=_flag(one), value_set=[True], **said)


def _flag(one: Declaration) -> str:
    """Name of the helper column beside a table that says whether each row keeps what its own values do not decide."""
    return f"kept: {one.id}"


def _chunks(table: Table) -> Iterator[pd.DataFrame]:
    """The table in parts of at most `CHUNK` rows; one empty part if it is empty."""
    for part in parts(table):
        for start in range(0, max(len(part), 1), CHUNK):
            yield part.iloc[start : start + CHUNK]


def _batch(part: pd.DataFrame, declared: list[Declaration], kept: dict[str, pd.Series]) -> pd.DataFrame:
    """What the library sees of a part: with helper columns, and text of blanks only as missing."""
    columns = list(dict.fromkeys([ROW, *(name for one in declared for name in (one.column, *one.others))]))
    text = {name: part[name].mask(checks.blank(part[name])) for name in columns if part[name].dtype == "str"}
    helpers = {_flag(one): kept[one.id] for one in declared if one.id in kept}
    return pd.concat([part[columns].assign(**text), pd.DataFrame(helpers, index=part.index)], axis=1)


class _Count:
    """One expectation over all chunks: rows looked at, rows without a value, and the rows that failed."""

    def __init__(self) -> None:
        self.success = True
        self.missing = 0
        self.failing: list[np.ndarray] = []
        self.broken = False

    def add(self, outcome: Any) -> None:
        self.broken |= bool(outcome.exception_info and outcome.exception_info.get("raised_exception"))
        self.success &= bool(outcome.success)
        self.missing += outcome.result.get("missing_count") or 0
        found = outcome.result.get("unexpected_index_list") or []
        self.failing.append(np.array([entry[ROW] for entry in found], dtype="int64"))

    @property
    def failed(self) -> int:
        return sum(map(len, self.failing))


def _all_there(name: str, part: pd.DataFrame, declared: list[Declaration]) -> None:
    wanted = {column for one in declared if one.table == name for column in (one.column, *one.others)}
    if absent := sorted(f"{name}.{column}" for column in wanted if column not in part):
        raise ArtefactError(
            f"ingested tables lack {', '.join(absent)}, which the contract names; run `dvc repro -f ingest`."
        )


def _held_as_declared(name: str, declared: list[Declaration], counts: dict[str, _Count]) -> None:
    wrong = [one.reason for one in declared if one.rule == "held_as" and not counts[one.id].success]
    wrong += [f"{one.about} (could not be judged)" for one in declared if counts[one.id].broken]
    if wrong:
        raise ArtefactError(f"ingested table {name}: {'; '.join(wrong)}; run `dvc repro -f ingest`.")


# Data Docs


def _page(name: str, declared: list[Declaration], counts: dict[str, _Count], rows: int) -> Any:
    """The library's result for one table, made anew from counts, so that no value of a row can be rendered.

    What looks at several columns, or at a helper column, is shown under the column it is about.
    """
    results = []
    for one in declared:
        failed, expectation = counts[one.id].failed, _expectation(one)
        config = expectation.configuration
        type_, kwargs = (_STAND_IN, {}) if one.others else (config.type, config.kwargs)
        results.append(
            ExpectationValidationResult(
                success=counts[one.id].success,
                expectation_config=ExpectationConfiguration(
                    type=type_,
                    kwargs={**kwargs, "column": one.column},
                    meta=config.meta,
                    description=html.escape(one.about),
                ),
                result={"observed_value": f"{failed:,} ({share(failed, rows)})" if failed else "none"},
                exception_info={"raised_exception": False, "exception_message": None, "exception_traceback": None},
            )
        )
    good = sum(result.success for result in results)
    return ExpectationSuiteValidationResult(
        success=good == len(results),
        results=results,
        suite_name=name,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": good,
            "unsuccessful_expectations": len(results) - good,
            "success_percent": 100 * good / (len(results) or 1),
        },
        meta={},
    )


#: Where a row left out is kept, by whether it was read.
_WHERE = {True: "quarantine.parquet", False: "refused.parquet"}

_LOOK_UP = """<h2>How to look a row up</h2>
<p>Rows that were read and then quarantined are in <code>data/validate/quarantine.parquet</code>, one line each: its
table, its row (1 is the first below the header: line 2 of a spreadsheet), its reasons, and all its values. Lines that
could not be read are in <code>data/ingest/refused.parquet</code> in the same way. Both may hold personal data and stay
on this machine. For example, in Python:</p>
<pre>import pandas as pd
rows = pd.read_parquet("data/validate/quarantine.parquet")
rows[(rows["table"] == "leads") &amp; rows["reasons"].str.contains("is missing")]</pre>
"""


def write_docs(
    checked: Checked,
    summary: dict[str, dict[str, Any]],
    folder: Path,
    title: str,
    beside: Mapping[str, str] | None = None,
) -> None:
    """Write the Data Docs: `index.html` and one page per table, each complete in itself.

    The lists of expectations are the library's own rendering. Its page around them is left out: that fetches styles
    and scripts from the net, invites to a newsletter, and holds the time of the run and random ids.

    Args:
        checked: what `check` returned.
        summary: what became of the rows, as `pipeline.leads.quarantine.part` counts them.
        folder: an existing folder.
        title: name of the contract.
        beside: pages that others write into the folder, file -> title; the index links to them.
    """
    for name, result in checked.pages.items():
        write_text(folder / f"{name}.html", page(f"Contract {title}: table {name}", _table_page(checked, name, result)))
    counted = [
        [
            f'<a href="{name}.html">{name}</a>' if name in checked.pages else name,
            f"{counts['rows']:,}",
            *(_counted(counts[key], counts["rows"]) for key in ("kept", "quarantined", "refused", "set_aside")),
        ]
        for name, counts in summary.items()
    ]
    links = "".join(f'<li><a href="{file}">{html.escape(name)}</a></li>' for file, name in (beside or {}).items())
    body = [
        "<p>Every declaration of the contract is an expectation. A row that breaks one is quarantined with its reason, "
        "and so is every activity and change of a lead that is quarantined. Of no use are changes of columns that the "
        "model does not follow, and leads that are still open where only decided ones are learned from. These pages "
        "show counts only, never a row's values.</p>",
        table(["Table", "Rows of the source", "Kept", "Quarantined", "Could not be read", "Of no use"], counted),
        f"<p>See also:</p><ul>{links}</ul>" if links else "",
        "<h2>Why rows were left out</h2>",
        _reasons(checked, summary),
        _LOOK_UP,
        f"<footer>Rendered by Great Expectations {gx.__version__}.</footer>",
    ]
    write_text(folder / "index.html", page(f"Contract {title}: which rows can be believed", "\n".join(body)))


def _reasons(checked: Checked, summary: dict[str, dict[str, Any]]) -> str:
    """Every reason with its rows, by table, the commonest first."""
    found = []
    for name, counts in summary.items():
        ours = {LEAD_QUARANTINED, LEAD_REFUSED, *checked.failed.loc[checked.failed["table"] == name, "reason"]}
        rows = [
            [html.escape(reason), _WHERE[reason in ours], f"{failed:,}", share(failed, counts["rows"])]
            for reason, failed in sorted(counts["reasons"].items(), key=lambda item: (-item[1], item[0]))
        ]
        if rows:
            found += [f"<h3>{name}</h3>", table(["Reason", "The row is in", "Rows", "Share"], rows)]
    note = "<p>A row with several reasons counts under each of them.</p>"
    return "\n".join([note, *found]) if found else "<p>None was.</p>"


def _table_page(checked: Checked, name: str, result: Any) -> str:
    mine = checked.summary[checked.summary["table"] == name]
    bad, total = checked.failed.loc[checked.failed["table"] == name, ROW].nunique(), int(mine["rows"].max())
    kept = f"{result.statistics['successful_expectations']} of {result.statistics['evaluated_expectations']}"
    broken = mine[mine["failed"] > 0].sort_values("failed", ascending=False, kind="stable")
    listed = [
        [html.escape(about), f"{failed:,}", share(failed, total)]
        for about, failed in zip(broken["about"], broken["failed"], strict=True)
    ]
    sections = ValidationResultsPageRenderer().render(result).sections[1:]
    rendered = "\n".join(
        DefaultJinjaSectionView().render({"section": section.to_json_dict(), "section_loop": {"index": place}})
        for place, section in enumerate(sections, 1)
    )
    return "\n".join(
        [
            f"<p>{total:,} rows were read; {_counted(bad, total)} of them break an expectation. {kept} expectations "
            'are kept by every row. <a href="index.html">All tables</a></p>',
            "<h2>What was broken</h2>",
            table(["Expectation", "Rows at fault", "Share"], listed) if listed else "<p>Nothing.</p>",
            "<h2>Every expectation, by column</h2>",
            f'<div class="expectations">{_steady(rendered)}</div>',
        ]
    )


def _counted(part: int, whole: int) -> str:
    return f"{part:,} ({share(part, whole)})" if part else "0"


def share(part: int, whole: int) -> str:
    """A share in percent, to be read: what is there is never shown as nothing."""
    value = part / (whole or 1)
    return "below 0.1%" if 0 < value < 0.0005 else f"{value:.1%}"


_RANDOM_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def _steady(body: str) -> str:
    """Random element ids numbered in order, blanks of the library's templates closed up, its headers in our words."""
    names: dict[str, str] = {}
    body = _RANDOM_ID.sub(lambda match: names.setdefault(match[0], f"part-{len(names) + 1}"), body)
    return re.sub(r"\s*\n\s*", "\n", body).replace("Observed Value", "Rows at fault").replace("Status", "Kept")


def table(header: list[str], rows: list[list[str]]) -> str:
    """An HTML table in the style of these pages. Cells are HTML: escape what is text."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f'<table class="table"><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>'


_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
h5 { font-size: 1rem; margin: 1.6rem 0 .3rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .7rem; border-bottom: 1px solid #d9dee4; }
th { font-weight: 600; color: #52606d; }
.expectations th:first-child { width: 3rem; } .expectations th:last-child { width: 9rem; }
pre { background: #f3f5f7; padding: .7rem 1rem; overflow-x: auto; }
@media (max-width: 40rem) { body { margin: 1rem auto; } th, td { padding: .3rem .35rem; font-size: .85rem; } }
h1, h5 { overflow-wrap: anywhere; } td { overflow-wrap: break-word; }
.text-success { color: #18794e; } .text-danger { color: #b42318; font-weight: 600; }
.fas { font-style: normal; font-weight: 700; } td br { display: none; } td strong { display: block; }
.fa-check-circle::before { content: "\\2713"; } .fa-times::before { content: "\\2717"; }
footer { margin-top: 2.5rem; color: #52606d; font-size: .85rem; }
"""


def page(title: str, body: str) -> str:
    """A whole HTML page in the style of these pages, complete in itself; `title` is text, `body` is HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1>\n{body}\n</body></html>\n"
    )
