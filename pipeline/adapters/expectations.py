"""Great Expectations: a suite derived from the contract, run over the ingested tables, and its Data Docs.

Raw values of failing rows stay in memory and in this module: what is logged, stored and rendered are counts. Nothing of
the library's own is left behind: no project folder, no identifier of the machine, no message home.
"""

from __future__ import annotations

import html
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import process
from pipeline.adapters.files import write_text
from pipeline.errors import ArtefactError, ContractError
from pipeline.leads.contract import ROW, Resolved
from pipeline.leads.declarations import Declaration, declare, flags
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
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaSectionView

#: Rows that the library holds at once.
CHUNK = 500_000


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
    tables: dict[str, pd.DataFrame],
    resolved: Resolved,
    newest: pd.Timestamp | None,
    *,
    refused_leads: pd.Series | None = None,
    drop: str | None = None,
) -> Checked:
    """Run the suite that follows from a contract.

    Args:
        tables: `leads`, `activities` and `changes` as `ingest` left them.
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
    _all_there(tables, declared)
    kept = flags(tables, resolved, declared, newest, refused_leads)

    context = _context()
    failed, summary, pages = [], [], {}
    for name in TABLES:
        mine = [one for one in declared if one.table == name]
        if not mine:
            continue
        suite = gx.ExpectationSuite(name=name, expectations=[_expectation(one) for one in mine])
        asset = context.data_sources.add_pandas(name).add_dataframe_asset(name)
        batches = asset.add_batch_definition_whole_dataframe("rows")
        counts = {one.id: _Count() for one in mine}
        for part in _parts(tables[name], mine, kept):
            result = batches.get_batch({"dataframe": part}).validate(
                suite,
                result_format={
                    "result_format": "COMPLETE",
                    "unexpected_index_column_names": [ROW],
                    "return_unexpected_index_query": False,
                },
            )
            for outcome in result.results:
                counts[outcome.expectation_config.meta["id"]].add(outcome)
        _held_as_declared(name, mine, counts)
        for order, one in enumerate(mine):
            count = counts[one.id]
            failed += [(name, row, order, one.reason) for row in count.failing]
            summary.append((name, one.column, one.rule, one.about, len(tables[name]), len(count.failing)))
        pages[name] = _page(name, mine, counts, len(tables[name]))

    found = pd.DataFrame(failed, columns=["table", ROW, "order", "reason"])
    found["place"] = found["table"].map({name: place for place, name in enumerate(TABLES)})
    found = found.sort_values(["place", ROW, "order"], ignore_index=True)[["table", ROW, "reason"]]
    return Checked(
        failed=found.astype({"table": "str", ROW: "int64", "reason": "str"}),
        summary=pd.DataFrame(summary, columns=["table", "column", "expectation", "about", "rows", "failed"]),
        pages=pages,
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


def _parts(table: pd.DataFrame, declared: list[Declaration], kept: dict[str, pd.Series]) -> Iterator[pd.DataFrame]:
    """The table in chunks, with its helper columns; text of blanks only counts as missing. One empty chunk if empty."""
    columns = list(dict.fromkeys([ROW, *(one.column for one in declared)]))
    for start in range(0, max(len(table), 1), CHUNK):
        part = table[columns].iloc[start : start + CHUNK]
        text = {name: part[name].mask(checks.blank(part[name])) for name in columns if part[name].dtype == "str"}
        helpers = {_flag(one): kept[one.id].iloc[start : start + CHUNK] for one in declared if one.id in kept}
        yield pd.concat([part.assign(**text), pd.DataFrame(helpers, index=part.index)], axis=1)


class _Count:
    """One expectation over all chunks: rows looked at, rows without a value, and the rows that failed."""

    def __init__(self) -> None:
        self.success = True
        self.missing = 0
        self.failing: list[int] = []
        self.broken = False

    def add(self, outcome: Any) -> None:
        self.broken |= bool(outcome.exception_info and outcome.exception_info.get("raised_exception"))
        self.success &= bool(outcome.success)
        self.missing += outcome.result.get("missing_count") or 0
        self.failing += [int(entry[ROW]) for entry in outcome.result.get("unexpected_index_list") or []]


def _all_there(tables: dict[str, pd.DataFrame], declared: list[Declaration]) -> None:
    absent = sorted({f"{one.table}.{one.column}" for one in declared if one.column not in tables[one.table]})
    if absent:
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

    Helper columns are shown under the column they are about.
    """
    results = []
    for one in declared:
        count, expectation = counts[one.id], _expectation(one)
        config = expectation.configuration
        outcome: dict[str, Any] = {"observed_value": one.limit}
        if one.rule != "held_as":
            outcome = {
                "element_count": rows,
                "missing_count": count.missing,
                "unexpected_count": len(count.failing),
                # Of all rows, as the library's own sentence about it says.
                "unexpected_percent": 100 * len(count.failing) / (rows or 1),
                "partial_unexpected_list": [],
            }
        results.append(
            ExpectationValidationResult(
                success=count.success,
                expectation_config=ExpectationConfiguration(
                    type=config.type,
                    kwargs={**config.kwargs, "column": one.column},
                    meta=config.meta,
                    description=html.escape(one.about),
                ),
                result=outcome,
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


def write_docs(checked: Checked, folder: Path, title: str) -> None:
    """Write the Data Docs: `index.html` and one page per table, each complete in itself.

    The tables of expectations are the library's own rendering. Its page around them is left out: that fetches styles
    and scripts from the net, invites to a newsletter, and holds the time of the run and random ids.

    Args:
        checked: what `check` returned.
        folder: an existing, empty folder.
        title: name of the contract.
    """
    rows: list[list[str]] = []
    for name, result in checked.pages.items():
        mine = checked.summary[checked.summary["table"] == name]
        bad = checked.failed.loc[checked.failed["table"] == name, ROW].nunique()
        kept = f"{result.statistics['successful_expectations']} of {result.statistics['evaluated_expectations']}"
        link = f'<a href="{name}.html">{name}</a>'
        total = int(mine["rows"].max())
        rows.append([link, f"{total:,}", f"{bad:,} ({_share(bad, total)})", kept])
        sections = ValidationResultsPageRenderer().render(result).sections[1:]
        body = "\n".join(
            DefaultJinjaSectionView().render({"section": section.to_json_dict(), "section_loop": {"index": place}})
            for place, section in enumerate(sections, 1)
        )
        intro = (
            f"<p>{total:,} rows; {bad:,} of them break an expectation ({_share(bad, total)}); {kept} expectations are "
            'kept by every row. <a href="index.html">All tables</a></p>'
        )
        write_text(folder / f"{name}.html", _html(f"Contract {title}: table {name}", intro + _steady(body)))
    broken = checked.summary[checked.summary["failed"] > 0].sort_values("failed", ascending=False, kind="stable")
    faults = [[str(one.table), html.escape(str(one.about)), f"{one.failed:,}"] for one in broken.itertuples()]
    write_text(
        folder / "index.html",
        _html(
            f"Contract {title}: which rows can be believed",
            "<p>Every declaration of the contract is an expectation. A row that breaks one is set aside with its "
            "reason in <code>data/validate/quarantine.parquet</code>, and so is every activity and change of a lead "
            "that was set aside. These pages show counts only, never a row's values.</p>"
            + _html_table(["Table", "Rows", "Rows at fault", "Expectations kept by every row"], rows)
            + "<h2>What was broken</h2>"
            + (_html_table(["Table", "Expectation", "Rows at fault"], faults) if faults else "<p>Nothing.</p>")
            + f"<footer>Rendered by Great Expectations {gx.__version__}.</footer>",
        ),
    )


def _share(part: int, whole: int) -> str:
    return f"{part / (whole or 1):.1%}"


_RANDOM_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def _steady(body: str) -> str:
    """Random element ids numbered in order, and the blanks of the library's templates closed up."""
    names: dict[str, str] = {}
    body = _RANDOM_ID.sub(lambda match: names.setdefault(match[0], f"part-{len(names) + 1}"), body)
    return re.sub(r"\s*\n\s*", "\n", body)


def _html_table(header: list[str], rows: list[list[str]]) -> str:
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
@media (min-width: 40rem) { th:first-child { width: 4rem; } th:last-child { width: 11rem; } }
@media (max-width: 40rem) { body { margin: 1rem auto; } th, td { padding: .3rem .35rem; font-size: .85rem; } }
h1, h5, td:nth-child(2):nth-last-child(2) { overflow-wrap: anywhere; }
.text-success { color: #18794e; } .text-danger { color: #b42318; font-weight: 600; }
.fas { font-style: normal; font-weight: 700; } td br { display: none; } td strong { display: block; }
.fa-check-circle::before { content: "\\2713"; } .fa-times::before { content: "\\2717"; }
footer { margin-top: 2.5rem; color: #52606d; font-size: .85rem; }
"""


def _html(title: str, body: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1>\n{body}\n</body></html>\n"
    )
