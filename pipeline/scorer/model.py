"""The scorer: from raw rows to score, interval, tier and reasons. One code for training, batches, and serving."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from . import checks, cleaning, facts, features, moves, reasons, texts, tiers, worth
from .calibration import Calibration, Interval, tenths
from .features import History
from .margin import Margin

FORMAT = 1
ACTIVITY_FIELDS = ["kind", "happened_at", "recorded_at"]
CHANGE_FIELDS = ["column", "recorded_at", "old_value", "new_value"]
#: Columns of what `score` and `predict` return, in order.
OUTPUT = [
    "lead_id",
    "as_of",
    "score",
    "probability",
    "interval_low",
    "interval_high",
    "tier",
    "base",
    "fit_points",
    "engagement_points",
    "grade",
    "expected_value",
    "value_score",
    "held_back",
    "reasons",
    "flags",
    "refused",
    "model_version",
]


class ScorerError(Exception):
    """A scorer folder that is incomplete or altered, or input without a column the scorer needs."""

    exit_code = 9


@dataclass(frozen=True)
class Prepared:
    """Input rows under the scorer's own names, their history, and why a row cannot be scored ("" where it can).

    `doubtful`: rows some of whose history, recorded by their as-of date, is not believed and left out.
    """

    rows: pd.DataFrame
    history: History
    refused: np.ndarray
    doubtful: np.ndarray


@dataclass(frozen=True)
class Scorer:
    """Everything that turns a lead's rows into a score; made by stage `calibrate`, loaded by `Scorer.load`.

    `spec`: what is read, checked and built (see `pipeline/leads/specification.py`). `level`: current level in log-
    odds, its own term of the margin. `tiers`: bands of the displayed score, each with the `play` of sales where there
    is one, see `tiers.held_back`. `grades`: see `tiers.grade`. `deal_values`: see `worth.expected_value`; None where no
    deal has a value. `version`: contract and content hash.
    """

    spec: dict[str, Any]
    margin: Margin
    level: float
    calibration: Calibration
    interval: Interval
    tiers: list[dict[str, Any]]
    grades: dict[str, list[float]]
    deal_values: dict[str, Any] | None
    version: str

    @classmethod
    def load(cls, folder: Path | str) -> Scorer:
        """Load a model folder after its hashes have been verified.

        Raises:
            ScorerError: a file is missing, added or altered, or the format is not this code's.
        """
        data = Path(folder) / "data"
        version = verify(Path(folder))
        calibration = _read(data / "calibration.json")
        return cls(
            spec=_read(data / "spec.json"),
            margin=Margin.restore(_read(data / "margin.json"), data),
            level=calibration["level"],
            calibration=Calibration(**calibration["calibration"]),
            interval=Interval(**calibration["interval"]),
            tiers=calibration["tiers"],
            grades=calibration["grades"],
            deal_values=calibration["deal_values"],
            version=version,
        )

    @property
    def members(self) -> list[Any]:
        return list(self.margin.members)

    @property
    def criteria(self) -> list[str]:
        """Criteria in order of their first feature."""
        return list(self.groups)

    @property
    def groups(self) -> dict[str, str]:
        """Group of every criterion, "fit" or "engagement", in order of the criteria."""
        return {feature["criterion"]: feature["group"] for feature in features.feature_list(self.spec)}

    # Routes

    def score(
        self, rows: pd.DataFrame, activities: pd.DataFrame | None = None, changes: pd.DataFrame | None = None
    ) -> pd.DataFrame:
        """Score flat tables.

        Args:
            rows: one row per (lead, as-of): `lead_id`, `created_at`, `as_of` and the contract's lead columns, under
            their
                source names or those after `ingest`. Personal columns are optional.
            activities: `lead_id`, kind, happened_at, recorded_at; every row of a lead sees those recorded by its as-of.
            changes: `lead_id`, column, recorded_at, old_value, new_value.

        Returns:
            DataFrame with the columns of `OUTPUT`, in the order of `rows`. `score` is in [0, 100] with one decimal,
            probabilities in [0, 1]; both are NaN, and `refused` says why, where a row cannot be scored.
            `expected_value` of a deal and `value_score`, chance times that, are in the unit of the deals, NaN where no
            deal has a value. `held_back` says why the tier's play leaves a lead alone.

        Raises:
            ScorerError: a column is absent.
        """
        return self._finish(self._flat(rows, activities, changes))

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Score rows that carry their history: as `score`, with `activities` and `changes` as lists of records."""
        return self._finish(self._nested(frame))

    def features(
        self, rows: pd.DataFrame, activities: pd.DataFrame | None = None, changes: pd.DataFrame | None = None
    ) -> pd.DataFrame:
        """The features of each row, in row order; arguments as `score`."""
        prepared = self._flat(rows, activities, changes)
        return features.build(prepared.rows, prepared.history, self.spec)

    def contributions(
        self, rows: pd.DataFrame, activities: pd.DataFrame | None = None, changes: pd.DataFrame | None = None
    ) -> pd.DataFrame:
        """Centred contributions of each feature to the margin, in log-odds, in row order; arguments as `score`."""
        built = self.features(rows, activities, changes)
        return pd.DataFrame(self.margin.contributions(built), columns=list(built.columns))

    def what_would_change(
        self, rows: pd.DataFrame, activities: pd.DataFrame | None = None, changes: pd.DataFrame | None = None
    ) -> pd.DataFrame:
        """The smallest change of a criterion that the lead or sales can move which lifts a lead a tier.

        Each move the contract allows (`moved_by`) is made at the as-of date, and the lead scored again. Of the smallest
        that lift it, the one with the highest score is named. Costs one pass of scoring per move.

        Args:
            rows, activities, changes: as `score` takes them.

        Returns:
            In the order of `rows`: `criterion`, `moved_by` ("lead" or "sales"), `change` in words, and `score` and
            `tier` after it; empty texts and NaN for a lead of the first tier, one that no move lifts, and one refused.
        """
        prepared = self._flat(rows, activities, changes)
        fit = np.flatnonzero(prepared.refused == "")
        lead = prepared.rows.iloc[fit].reset_index(drop=True)
        history = moves.apart(replace(prepared.history, row_owner=prepared.history.row_owner[fit]))
        starts = np.array([tier["from"] for tier in self.tiers])
        now = self._tenths(lead, history)
        place = (now[:, None] >= starts[None, :]).argmax(axis=1)
        wanted = np.where(place > 0, starts[np.maximum(place - 1, 0)], np.iinfo("int64").max)
        best, size = np.full(len(lead), -1), np.full(len(lead), moves.MOST + 1)
        chosen = np.full(len(lead), None, dtype=object)
        for move in moves.moves(self.spec):
            score = self._tenths(*moves.applied(lead, history, move))
            better = (score >= wanted) & ((move.times < size) | ((move.times == size) & (score > best)))
            best, size = np.where(better, score, best), np.where(better, move.times, size)
            chosen[better] = move
        found = pd.DataFrame(
            dict.fromkeys(("criterion", "moved_by", "change"), "") | {"score": np.nan, "tier": ""},
            index=range(len(rows)),
        )
        lifted = np.flatnonzero(best >= 0)
        where = fit[lifted]
        for name, attribute in (("criterion", "criterion"), ("moved_by", "moved_by"), ("change", "text")):
            found.loc[where, name] = [getattr(move, attribute) for move in chosen[lifted]]
        found.loc[where, "score"] = best[lifted] / 10
        found.loc[where, "tier"] = tiers.name(best[lifted], self.tiers)
        return found

    # Parts

    def _tenths(self, rows: pd.DataFrame, history: History) -> np.ndarray:
        """Displayed scores in tenths of rows that can be scored."""
        parts = self._by_criterion(self.margin.contributions(features.build(rows, history, self.spec)))
        return tenths(self.calibration.probability(self.margin.base + parts.sum(axis=1)))

    def _finish(self, prepared: Prepared) -> pd.DataFrame:
        rows, fit = prepared.rows, prepared.refused == ""
        history = prepared.history
        kept = History(
            n_owners=history.n_owners,
            row_owner=history.row_owner[fit],
            activities=history.activities,
            activity_owner=history.activity_owner,
            changes=history.changes,
            change_owner=history.change_owner,
        )
        built = features.build(rows[fit], kept, self.spec)
        parts = self._by_criterion(self.margin.contributions(built))
        margin = self.margin.base + parts.sum(axis=1)
        probability = self.calibration.probability(margin)
        low, high = self.interval.around(margin, self.calibration)
        score = tenths(probability)
        base, row_points = reasons.points(parts, self.margin.base, self.calibration)
        groups = np.array([*self.groups.values(), ""])
        sums = {group: parts[:, groups == group].sum(axis=1) for group in features.GROUPS}

        result = pd.DataFrame(
            {
                "lead_id": rows["lead_id"].astype(object),
                "as_of": rows["as_of"],
                "score": np.nan,
                "probability": np.nan,
                "interval_low": np.nan,
                "interval_high": np.nan,
                "tier": "",
                "base": np.nan,
                "fit_points": np.nan,
                "engagement_points": np.nan,
                "grade": "",
                "expected_value": np.nan,
                "value_score": np.nan,
                "held_back": "",
                "reasons": "[]",
                "flags": "",
                "refused": prepared.refused,
                "model_version": self.version,
            },
        ).reset_index(drop=True)
        where = np.flatnonzero(fit)
        tier = tiers.name(score, self.tiers)
        expected = np.full(len(where), np.nan)
        if self.deal_values is not None:
            expected = worth.expected_value(self.deal_values, built)
        filled = {
            "score": score / 10,
            "probability": probability,
            "interval_low": low,
            "interval_high": high,
            "tier": tier,
            "base": np.full(len(where), base / 10),
            "fit_points": row_points[:, groups == "fit"].sum(axis=1) / 10,
            "engagement_points": row_points[:, groups == "engagement"].sum(axis=1) / 10,
            "grade": tiers.grade(sums, self.grades),
            "expected_value": expected,
            "value_score": probability * expected,
            "held_back": tiers.held_back(tier, self.tiers, kept, features.microseconds(rows.loc[fit, "as_of"])),
            "reasons": reasons.told(
                [*self.criteria, reasons.LEVEL],
                groups.tolist(),
                row_points,
                texts.tell(built, self.spec, self.level),
            ),
            "flags": self._flags(rows[fit], built, prepared.doubtful[fit]),
        }
        for name, value in filled.items():
            column = result[name].to_numpy(dtype=object if result[name].dtype.kind not in "f" else "float64").copy()
            column[where] = value
            result[name] = column
        for name in ("lead_id", "tier", "grade", "held_back", "reasons", "flags", "refused", "model_version"):
            result[name] = result[name].astype("str")
        return result[OUTPUT]

    def _by_criterion(self, contributions: np.ndarray) -> np.ndarray:
        """Feature contributions summed per criterion, the current level as the last column."""
        names = {name: k for k, name in enumerate(self.criteria)}
        result = np.zeros((len(contributions), len(names) + 1))
        for k, feature in enumerate(features.feature_list(self.spec)):
            result[:, names[feature["criterion"]]] += contributions[:, k]
        result[:, -1] = self.level
        return result

    def _flags(self, rows: pd.DataFrame, built: pd.DataFrame, doubtful: np.ndarray) -> list[str]:
        """What a reader of the score should know: unseen values, missing input, an age beyond training, history left
        out."""
        found: list[list[str]] = [[] for _ in range(len(built))]

        def flag(mask: np.ndarray, text: str) -> None:
            for place in np.flatnonzero(mask):
                found[place].append(text)

        for name, mask in self.margin.encoder.unseen(built).items():
            flag(mask, f"unseen_category:{name}")
        for column in self.spec["profile"]:
            if column["name"] in self.margin.encoder.complete:
                flag(built[column["name"]].isna().to_numpy(), f"missing_input:{column['name']}")
        if self.spec["max_age_days"] is not None:
            age = features.microseconds(rows["as_of"]) - features.microseconds(rows["created_at"])
            flag(age > self.spec["max_age_days"] * features.DAY_US, "age_beyond_training")
        flag(doubtful, "history_left_out")
        return [";".join(texts) for texts in found]

    def _prepare(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
        """Rows under the scorer's names with facts and times, and the reasons why rows cannot be scored."""
        renames = {old: new for old, new in self.spec["names"].items() if old in frame and new not in frame}
        rows = frame.rename(columns=renames).reset_index(drop=True)
        made: dict[str, Any] = {}
        for fact in self.spec["facts"]:
            if fact["name"] not in rows:
                source = rows.get(fact["column"])
                made[fact["name"]] = (
                    facts.derive(fact["fact"], cast(pd.Series, source))
                    if source is not None
                    else np.full(len(rows), np.nan)
                )
        rows = rows.assign(**made)
        needed = ["lead_id", "created_at", "as_of", *(column["name"] for column in self.spec["profile"])]
        if absent := [name for name in needed if name not in rows]:
            raise ScorerError(
                f"input lacks the column(s) {', '.join(absent)}; a value may be missing, its column may not."
            )
        formats = {"created_at": self.spec["created_format"]}
        times = {
            name: as_time(rows[name], formats.get(name))
            for name in ("created_at", "as_of", "converted_at", "lost_at")
            if name in rows
        }
        cleaned = {
            column["name"]: cleaning.clean(rows[column["name"]], column["declared"]) for column in self.spec["profile"]
        }
        rows = rows.assign(**times, **cleaned)
        refused = checks.refusals(rows, self.spec["checks"]).to_numpy(dtype=object)
        for name, word in (("converted_at", "converted"), ("lost_at", "lost")):
            if name in rows:
                closed = (rows[name] <= rows["as_of"]).to_numpy() & (refused == "")
                refused[closed] = f"already {word} by the as-of date"
        return rows, refused

    def _flat(self, frame: pd.DataFrame, activities: pd.DataFrame | None, changes: pd.DataFrame | None) -> Prepared:
        rows, refused = self._prepare(frame)
        # A row without a key has a history of its own, which is empty.
        owners, names = pd.factorize(rows["lead_id"].astype(object), use_na_sentinel=False)
        index = pd.Index(names)

        def own(table: pd.DataFrame | None, fields: list[str]) -> tuple[pd.DataFrame, np.ndarray]:
            if table is None:
                return pd.DataFrame({name: [] for name in fields}, dtype=object), np.array([], dtype="int64")
            owner = index.get_indexer(pd.Index(table["lead_id"].astype(object)))
            owner[table["lead_id"].isna().to_numpy()] = -1
            return table.loc[owner >= 0, fields].reset_index(drop=True), owner[owner >= 0]

        return self._believed(
            rows, refused, len(names), owners, own(activities, ACTIVITY_FIELDS), own(changes, CHANGE_FIELDS)
        )

    def _nested(self, frame: pd.DataFrame) -> Prepared:
        needed = [
            name for name, used in (("activities", self.spec["kinds"]), ("changes", self.spec["tracked"])) if used
        ]
        if absent := [name for name in needed if name not in frame]:
            raise ScorerError(f"input lacks the column(s) {', '.join(absent)}: lists of records, possibly empty.")
        rows, refused = self._prepare(frame.drop(columns=["activities", "changes"], errors="ignore"))

        def own(table: str, fields: list[str]) -> tuple[pd.DataFrame, np.ndarray]:
            flat: list[tuple[int, Any]] = []
            for k, records in enumerate(frame[table].tolist() if table in frame else []):
                if records is None or (isinstance(records, float) and np.isnan(records)):
                    continue
                if isinstance(records, list | tuple | np.ndarray) and all(isinstance(one, dict) for one in records):
                    flat += [(k, record) for record in records]
                else:
                    refused[k] = refused[k] or f"{table} is not a list of records"
            values = [[record.get(name) for name in fields] for _, record in flat]
            found = pd.DataFrame(values, columns=fields, dtype=object)
            name = "kind" if "kind" in fields else "column"
            found[name] = found[name].map(cleaning.single)
            return found, np.array([k for k, _ in flat], dtype="int64")

        return self._believed(
            rows,
            refused,
            len(rows),
            np.arange(len(rows)),
            own("activities", ACTIVITY_FIELDS),
            own("changes", CHANGE_FIELDS),
        )

    def _believed(
        self,
        rows: pd.DataFrame,
        refused: np.ndarray,
        n_owners: int,
        row_owner: np.ndarray,
        activities: tuple[pd.DataFrame, np.ndarray],
        changes: tuple[pd.DataFrame, np.ndarray],
    ) -> Prepared:
        """Times read, and the history that validation would set aside left out, whichever way it came in."""
        created = pd.Series(pd.NaT, index=range(n_owners), dtype="datetime64[us]")
        created.iloc[row_owner[::-1]] = rows["created_at"].to_numpy()[::-1]
        doubtful = np.zeros(len(rows), dtype=bool)
        tracked = {column["source"]: column["declared"] for column in self.spec["profile"] if column["tracked"]}
        kept = []
        for table, owner in (activities, changes):
            times = {name: as_time(table[name]) for name in ("happened_at", "recorded_at") if name in table}
            dated, born = table.assign(**times), created.iloc[owner].reset_index(drop=True)
            if "kind" in dated:
                believed = checks.believable_activities(dated, born).to_numpy()
            else:
                believed = checks.believable_changes(dated, born, tracked).to_numpy()
            recorded = dated["recorded_at"].to_numpy()
            order = np.flatnonzero(~believed)[np.argsort(owner[~believed], kind="stable")]
            row, event = features.pairs(row_owner, owner[order], n_owners)
            known = ~(recorded[order[event]] > rows["as_of"].to_numpy()[row])
            doubtful[row[known]] = True
            kept.append((dated[believed].reset_index(drop=True), owner[believed]))
        history = History(n_owners, row_owner, *kept[0], *kept[1])
        return Prepared(rows, history, refused, doubtful)


def as_time(values: pd.Series, format: str | None = None) -> pd.Series:
    """Times as naive UTC `datetime64[us]`: offsets are converted, what cannot be read is missing.

    `format` is that of the contract for text; ISO 8601 where it names none.
    """
    return checks.moments(values, format)[0]


def content(folder: Path) -> dict[str, str]:
    """sha256 of every file below `data/` (but the manifest) and `code/`, by path relative to the model folder.

    Byte code that Python left beside the code does not count.
    """
    found = sorted(
        file.relative_to(folder).as_posix()
        for part in ("data", "code")
        for file in (folder / part).rglob("*")
        if file.is_file()
        and file != folder / "data" / "manifest.json"
        and not (part == "code" and file.parent.name == "__pycache__" and file.suffix == ".pyc")
    )
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in found}


def version_of(contract: str, hashes: dict[str, str]) -> str:
    """`<contract>-<first 12 digits of the hash of all hashes>`; the code's folder name does not count."""
    anonymous = sorted((name.rsplit("/", 1)[-1], digest) for name, digest in hashes.items())
    return f"{contract}-{hashlib.sha256(json.dumps(anonymous).encode()).hexdigest()[:12]}"


def verify(folder: Path) -> str:
    """Check a model folder against its manifest before anything in it is parsed; returns the model version.

    Raises:
        ScorerError: the manifest is missing or of another format, or a file is missing, added or altered.
    """
    path = folder / "data" / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        expected, version = manifest["files"], manifest["version"]
        if manifest["format"] != FORMAT:
            raise ScorerError(f"{folder}: scorer format {manifest['format']!a:.40}, this code reads {FORMAT}.")
        if not isinstance(expected, dict) or not isinstance(version, str):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise ScorerError(f"{path}: missing or not a scorer's manifest.") from None
    held = (path for part in ("data", "code") for path in (folder / part, *(folder / part).rglob("*")))
    if link := next((path for path in held if path.is_symlink()), None):
        raise ScorerError(
            f"{folder}: {link.relative_to(folder).as_posix()!a:.80} is a link; a scorer holds files only."
        )
    found = content(folder)
    if wrong := sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)):
        named = ", ".join(f"{ascii(name)[1:-1]:.80}" for name in wrong[:10]) + (", ..." if len(wrong) > 10 else "")
        raise ScorerError(f"{folder}: not what was made; missing, added or altered: {named}.")
    if version_of(version.rsplit("-", 1)[0], found) != version:
        raise ScorerError(f"{folder}: its files do not belong to version {version!a:.80}.")
    return version


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
