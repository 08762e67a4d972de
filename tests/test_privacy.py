"""No personal data leaves: 1,500 planted names, addresses and numbers, a whole run with bad rows, and a scanner.

The scanner opens whatever it meets and looks at every byte below the project folder: what stages made, DVC's cache, the
MLflow store, Data Docs, figures, logs, scores. A planted value may stand in the source, and in the two tables of rows
that were refused, which DVC keeps no copy of.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pipeline.adapters import batch, files, ledger, model_folder, score_export
from pipeline.adapters.sources import Given
from pipeline.leads import demo
from pipeline.leads.contract import restore
from pipeline.params import Demo
from pipeline.paths import Workspace
from tests.scanner import Wanted, scan
from tests.test_end_to_end import checkout

#: Where personal values may stand after a run.
SOURCE = ("data/raw", "incoming")
REFUSALS = ("data/ingest/refused.parquet", "data/validate/quarantine.parquet")
OF_EACH = 500
SIZE = Demo(leads=1200, months=12, dirty_share=0.02)
SEED = 5


# The canaries


@dataclass
class Canaries:
    """Made-up people: names, addresses and numbers that stand nowhere else; each is handed out once."""

    rng: np.random.Generator
    names: list[str] = field(default_factory=list)
    emails: list[str] = field(default_factory=list)
    phones: list[str] = field(default_factory=list)

    def name(self) -> str:
        given, family = self._word(), self._word()
        forms = (f"{given} {family}", f"{family}, {given}", f"Dr. {given} {family}", f"{given}-Jo {family}")
        return self._keep(self.names, forms[len(self.names) % 10 if len(self.names) % 10 < 4 else 0])

    def email(self) -> str:
        forms = (
            f"{self._word()}.{self._word()}@{self._word()}.example",
            f"{self._word()}_7@mail.{self._word()}.example",
        )
        return self._keep(self.emails, forms[len(self.emails) % 2].lower())

    def phone(self) -> str:
        line = f"{len(self.phones):03d}{self.rng.integers(1000, 10_000)}"
        forms = (
            f"+998 71 {line}", f"0998 {line}", f"(998) {line[:3]}-{line[3:]}", f"998-{line[:3]}-{line[3:]}",
            f"00998 71{line}", f"0998/{line}", f"+998 (0) 71 / {line}", f"09 98 {line[:2]} {line[2:4]} {line[4:6]}",
        )  # fmt: skip
        form = forms[len(self.phones) % len(forms)]
        return self._keep(self.phones, form)

    def _word(self) -> str:
        return "".join(
            self.rng.choice(list(letters)) for letters in ("QXZJ", "aeiou", "vwkz", "aeiou", "bgkx", "ou", "nrm")
        )

    @staticmethod
    def _keep(list_: list[str], value: str) -> str:
        list_.append(value)
        return value

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.names, self.emails, self.phones)


@dataclass
class History:
    """Raw tables with canaries in them."""

    leads: pd.DataFrame
    activities: pd.DataFrame
    changes: pd.DataFrame
    canaries: Canaries
    #: (table, 1-based row) of the demo's own dirty rows.
    dirty: set[tuple[str, int]]
    #: (table, column, row from 0) -> the kind of the canary planted where none belongs.
    planted: dict[tuple[str, str, int], str] = field(default_factory=dict)


def history() -> History:
    """The demo log with canaries for people, and others where they do not belong."""
    blocks = list(demo.generate(SIZE, SEED))
    leads, activities, changes = (
        pd.concat([getattr(block, name) for block in blocks], ignore_index=True)
        for name in ("leads", "activities", "changes")
    )
    rng = np.random.default_rng(SEED)
    canaries = Canaries(rng)
    notes = ("asked for a demo", "wants an offer", "no reply yet", "met at the fair", "compares two vendors", "")
    leads["notes"] = rng.choice(notes, len(leads))
    dirty = {row for block in blocks for row in block.dirty[["table", "row"]].itertuples(index=False, name=None)}
    made = History(leads, activities, changes, canaries, dirty)

    # People in the columns that are meant for them; bad rows, which the demo has, among them.
    rows = rng.permutation(len(leads))
    for column, make in (("full_name", canaries.name), ("email", canaries.email), ("phone", canaries.phone)):
        for row in rows[:400]:
            leads.at[row, column] = make()

    # Others where nobody belongs: of people who stand in a personal column, too, and of strangers.
    place = iter(rows[600:])
    known = iter(rows[:400])
    for column in ("campaign", "department", "source", "tech_stack", "budget_confirmed"):
        for make, kind in ((canaries.name, "name"), (canaries.email, "email"), (canaries.phone, "phone")):
            for _ in range(7 if kind == "name" else 6):
                row = next(place)
                leads.at[row, column] = make()
                made.planted["leads", column, int(row)] = kind
        # Somebody else's name, in another case.
        row = next(place)
        leads.at[row, column] = leads.at[next(known), "full_name"].lower()
        made.planted["leads", column, int(row)] = "known"
    for column in ("employees", "annual_revenue_eur", "created_at", "converted_at", "lead_id"):
        for make, kind in ((canaries.name, "name"), (canaries.email, "email"), (canaries.phone, "phone")):
            row = next(place)
            leads.at[row, column] = make()
            made.planted["leads", column, int(row)] = kind
    for form in ("called {}, wants an offer", "{}", "see {} (assistant)"):
        for make, kind in ((canaries.email, "email"), (canaries.phone, "phone")):
            row = next(place)
            leads.at[row, "notes"] = form.format(make())
            made.planted["leads", "notes", int(row)] = kind
        row = next(place)
        leads.at[row, "notes"] = form.format(leads.at[next(known), "full_name"])
        made.planted["leads", "notes", int(row)] = "known"
        # A number that stands in the right column, without its signs.
        row = next(place)
        digits = "".join(sign for sign in leads.at[rows[0], "phone"] if sign.isdecimal())
        leads.at[row, "annual_revenue_eur"] = digits.lstrip("0")
        made.planted["leads", "annual_revenue_eur", int(row)] = "known"

    for table, name, columns in (
        (activities, "activities", ("kind", "lead_id", "activity_id", "happened_at")),
        (changes, "changes", ("new_value", "old_value", "column", "lead_id")),
    ):
        place = iter(rng.permutation(len(table)))
        for column in columns:
            for make, kind in ((canaries.name, "name"), (canaries.email, "email"), (canaries.phone, "phone")):
                for _ in range(6):
                    row = next(place)
                    while name == "changes" and table.at[row, "column"] not in (
                        "status",
                        "employees",
                        "budget_confirmed",
                    ):
                        row = next(place)
                    table.at[row, column] = make()
                    made.planted[name, column, int(row)] = kind
    # What remains goes to the right columns.
    for column, make, kept in (
        ("full_name", canaries.name, canaries.names),
        ("email", canaries.email, canaries.emails),
        ("phone", canaries.phone, canaries.phones),
    ):
        for row in rows[400 : 400 + OF_EACH - len(kept)]:
            leads.at[row, column] = make()
    return made


def contract(project_root: Path) -> dict[str, object]:
    """The demo's contract for the same log as files, with a column of remarks."""
    content = yaml.safe_load((project_root / "data/contracts/demo.yaml").read_text(encoding="utf-8"))
    files = {name: {"path": f"{name}.csv"} for name in ("leads", "activities", "changes")}
    content |= {"name": "crm", "source": {"kind": "files", **files}}
    content["columns"]["notes"] = {"role": "ignored", "type": "text", "reason": "free text"}
    return content


@dataclass
class Run:
    """A project folder after a whole run, and what was planted before it."""

    root: Path
    history: History
    said: str


@pytest.fixture(scope="module")
def run(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`dvc repro` over the history, and scores of the same leads, with all that was said kept in the folder."""
    root = checkout(
        project_root,
        tmp_path_factory.mktemp("private") / "work",
        ("contract: demo", "contract: crm"),
        ("max_refused_share: 0.05", "max_refused_share: 0.4"),
        ("min_test_conversions: 50", "min_test_conversions: 5"),
    )
    made = history()
    (root / "data/contracts/crm.yaml").write_text(yaml.safe_dump(contract(project_root)), encoding="utf-8")
    (root / "incoming").mkdir()
    for name in ("leads", "activities", "changes"):
        table: pd.DataFrame = getattr(made, name)
        table.to_csv(root / f"data/raw/{name}.csv", index=False)
        # Whoever asks for scores gets the keys back that they gave, but for addresses and numbers.
        named = [
            row
            for (table_, column, row), kind in made.planted.items()
            if (table_, column) == (name, "lead_id") and kind == "name"
        ]
        given = table.drop(index=named)
        given.tail(400 if name == "leads" else len(given)).to_csv(root / f"incoming/{name}.csv", index=False)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    said = []

    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"], cwd=root, env=environment, capture_output=True, text=True, timeout=550
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    said = [done.stdout, done.stderr]
    workspace = Workspace(root)
    resolved = restore(files.read_json(workspace.path("ingest/contract.json")))
    scorer = model_folder.load(root / "data/calibrate/scorer")
    result = batch.score_files(
        scorer,
        resolved,
        {name: Given.of(root / f"incoming/{name}.csv") for name in ("leads", "activities", "changes")},
        root / "work",
        as_of=pd.Timestamp("2025-01-01"),
        now=pd.Timestamp("2025-01-01"),
        max_bytes=2**30,
        record=partial(ledger.record, workspace, scorer, "a" * 64),
    )
    score_export.export(result, root / "scores.csv", reasons=5)
    # As `leads score` does: raw leads lie there, for nobody else to read.
    shutil.rmtree(root / "work")
    said += result.notes
    (root / "said.log").write_text("\n".join(said), encoding="utf-8")
    return Run(root, made, "\n".join(said))


def test_a_run_with_bad_rows_leaves_no_personal_value_behind(run: Run) -> None:
    canaries = run.history.canaries
    assert [len(canaries.names), len(canaries.emails), len(canaries.phones)] == [OF_EACH] * 3
    assert len(canaries.wanted) == 3 * OF_EACH
    # They are there to be found: every one in the source, and every row that should not hold one in a refusal table.
    assert set().union(*scan(run.root / "data/raw", canaries.wanted).values()) == set(
        canaries.names + canaries.emails + canaries.phones
    )
    found = scan(run.root, canaries.wanted, skip=[*SOURCE, *REFUSALS])
    assert {file: len(values) for file, values in found.items()} == {}


def test_the_run_went_all_the_way(run: Run) -> None:
    """What was scanned holds what it should: the cache, the store, the docs, the scores."""
    assert (run.root / "data/register/decision.json").is_file()
    held = {path.suffix for path in run.root.rglob("*") if path.is_file()}
    assert {".parquet", ".png", ".html", ".db", ".csv", ".json", ".log"} <= held
    cached = [path for path in (run.root / ".dvc/cache").rglob("*") if path.is_file()]
    assert len(cached) > 20
    scores = pd.read_csv(run.root / "scores.csv")
    assert scores["score"].notna().sum() > 5 and scores["refused"].notna().any()


def test_every_planted_row_is_refused_or_quarantined_and_few_others(run: Run) -> None:
    gone = pd.concat([files.read_table(run.root / name)[["table", "row"]] for name in REFUSALS])
    gone_rows = set(gone.itertuples(index=False, name=None))
    missed = {place: kind for place, kind in run.history.planted.items() if (place[0], place[2] + 1) not in gone_rows}
    # A change of a column that is not followed goes nowhere at all.
    assert {place: kind for place, kind in missed.items() if place[:2] != ("changes", "column")} == {}
    refused = files.read_table(run.root / REFUSALS[0])
    dirty = {(table, row + 1) for table, _, row in run.history.planted} | run.history.dirty
    good = set(refused[["table", "row"]].itertuples(index=False, name=None)) - dirty
    rows = len(run.history.leads) + len(run.history.activities) + len(run.history.changes)
    assert len(good) <= 0.001 * rows, good


def test_reasons_and_logs_hold_counts_and_columns(run: Run) -> None:
    reasons = files.read_table(run.root / REFUSALS[0])["reason"].str.replace(r"^line \d+: ", "", regex=True)
    assert reasons.nunique() < 80
    assert run.history.canaries.wanted.within("\n".join(reasons) + run.said) == set()


# The scanner


WANTED = Wanted(["Zoe Quill"], ["zoe@quill.example"], ["+998 71 1234567"])
TEXT = "of Zoe Quill"


def zipped(raw: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.txt", raw)
    return file.getvalue()


def tarred(raw: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        info = tarfile.TarInfo("inner.txt")
        info.size = len(raw)
        archive.addfile(info, io.BytesIO(raw))
    return file.getvalue()


def parquet(cell: object) -> bytes:
    file = io.BytesIO()
    pd.DataFrame({"a": [cell] * 3, "b": [1, 2, 3]}).to_parquet(file, compression="zstd")
    return file.getvalue()


def database(cell: object, folder: Path) -> bytes:
    path = folder / "some.db"
    path.unlink(missing_ok=True)
    store = sqlite3.connect(path)
    store.execute("CREATE TABLE t (a)")
    store.execute("INSERT INTO t VALUES (?)", (cell,))
    store.commit()
    store.close()
    return path.read_bytes()


def png(*, compressed: bool) -> bytes:
    notes = PngInfo()
    notes.add_text("Title", TEXT, zip=compressed)
    file = io.BytesIO()
    Image.new("L", (2, 2)).save(file, "png", pnginfo=notes)
    return file.getvalue()


HIDING_PLACES: dict[str, Callable[[Path], bytes]] = {
    "text": lambda _: TEXT.encode(),
    "another case": lambda _: b"zoe_quill",
    "turned": lambda _: b"QUILL, Zoe",
    "an address": lambda _: b"mailto:Zoe@Quill.example?subject=x",
    "a number": lambda _: b"tel: 998/71-12 345 67",
    "digits in a longer row": lambda _: b"1,99871 1234567,2024",
    "utf-16": lambda _: TEXT.encode("utf-16-le"),
    "utf-32": lambda _: b"x" + TEXT.encode("utf-32-le"),
    "json": lambda _: json.dumps({"a": "\u2013 Zo\u00eb\tQuill".replace("\u00eb", "e")}).encode(),
    "escapes": lambda _: b'"\\u005aoe\\u0020Quill"',
    "html": lambda _: b"Zoe&nbsp;Qui&#108;l",
    "a web address": lambda _: b"?q=Zoe%20Quill",
    "zip": lambda _: zipped(TEXT.encode()),
    "gzip": lambda _: gzip.compress(TEXT.encode()),
    "zlib": lambda _: zlib.compress(TEXT.encode()),
    "tar": lambda _: tarred(TEXT.encode()),
    "gzip in zip in tar": lambda _: tarred(zipped(gzip.compress(TEXT.encode()))),
    "parquet": lambda _: parquet(TEXT),
    "a list in parquet": lambda _: parquet([TEXT]),
    "numbers in parquet": lambda _: parquet(998711234567.0),
    "parquet in zip": lambda _: zipped(parquet(TEXT)),
    "sqlite": lambda folder: database(TEXT, folder),
    "bytes in sqlite": lambda folder: database(zlib.compress(TEXT.encode()), folder),
    "png": lambda _: png(compressed=False),
    "compressed in png": lambda _: png(compressed=True),
    "base64": lambda _: b"<img src='data:x," + base64.b64encode(TEXT.encode() + b"." * 80) + b"'>",
}


@pytest.mark.parametrize("place", HIDING_PLACES)
def test_the_scanner_finds_a_value_in(place: str, tmp_path: Path) -> None:
    raw = HIDING_PLACES[place](tmp_path)
    folder = tmp_path / "scanned" / "below"
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(raw)
    assert set(scan(tmp_path / "scanned", WANTED)) == {"below/file"}
    assert scan(tmp_path / "scanned", WANTED, skip=["below/file"]) == scan(
        tmp_path, WANTED, skip=["scanned", "some.db"]
    )


def test_the_scanner_finds_a_value_in_the_name_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "zoe quill.txt").write_text("nothing")
    assert scan(tmp_path, WANTED) == {"zoe quill.txt": {"Zoe Quill"}}


def test_the_scanner_finds_nothing_in_what_only_looks_similar(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Zoe Quilling; zoe@quills.example; +998 71 123456 8; 2024-01-01")
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"nobody")[:-9])
    assert scan(tmp_path, WANTED) == {}
