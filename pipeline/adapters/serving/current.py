"""The scorer that answers, and the watch on the alias that names it."""

from __future__ import annotations

import datetime
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.adapters import model_folder, registry
from pipeline.adapters.serving import examples, reading
from pipeline.adapters.tracking import Store
from pipeline.adapters.verification import Verified


class Models(Protocol):
    """Where scorers come from."""

    def named(self) -> tuple[int | None, str]:
        """Number (None of a folder) and content hash of the version that should answer now."""

    def load(self, number: int | None) -> Any:
        """Its scorer, verified."""


@dataclass(frozen=True)
class Registered:
    """Versions of a contract's registered model; `which` is an alias or a number, `key` the public key that must
    have signed them, where it is not that of the environment."""

    store: Store
    contract: str
    which: str
    key: Path | None = None

    def named(self) -> tuple[int, str]:
        """Raises RegistryError: there is no such version, or the store does not answer."""
        version = registry.find(self.store, self.contract, self.which)
        return version.number, version.scorer

    def load(self, number: int | None) -> Any:
        """Raises RegistryError or ModelError: what is stored is not what was registered, or cannot be loaded."""
        return model_folder.load(registry.resolve(self.store, self.contract, number or self.which, key=self.key)[1])


@dataclass(frozen=True)
class Exported:
    """One exported folder, verified before; it never changes."""

    verified: Verified

    def named(self) -> tuple[None, str]:
        return None, self.verified.sha256

    def load(self, number: int | None) -> Any:
        """Raises ModelError: it cannot be loaded."""
        return model_folder.load(self.verified.folder)


@dataclass(frozen=True)
class Served:
    """A scorer that answers: its version `number` in the registry (None of a folder) and `content` hash, when it
    took over (UTC, ISO 8601), the form of its input, and an example with its answer, scored before anybody asked."""

    number: int | None
    content: str
    scorer: Any
    since: str
    form: reading.Form
    example: dict[str, Any]
    answer: dict[str, Any]


class Current:
    """The scorer that answers now. A request keeps the one it found, so that a change loses none.

    `trouble`: empty, or why the version that should answer does not, in a sentence for everybody; the log has the
    particulars.
    """

    def __init__(self, models: Models, log: logging.Logger) -> None:
        """Load the version that should answer.

        Raises:
            RegistryError, ModelError: as `Models` raises them.
        """
        self._models, self._log = models, log
        self._noted = ""
        self.trouble = ""
        self.served = self._load(*models.named())

    def check(self) -> None:
        """Take over the version that should answer now, once it is loaded, verified and has scored the example.

        Whatever goes wrong, the present one goes on answering: `trouble` says so, and the log says why, once.
        """
        wanted = "the version that should answer"
        try:
            number, content = self._models.named()
            wanted = f"version {number}"
            if (number, content) != (self.served.number, self.served.content):
                before, self.served = self.served, self._load(number, content)
                self._log.info(
                    "version %d (%s) answers now, in place of version %d (%s)",
                    number,
                    self.served.scorer.version,
                    before.number,
                    before.scorer.version,
                )
            self.trouble = self._noted = ""
        except Exception as fault:  # a watch that ended would miss every later change
            self.trouble = f"{wanted} could not be loaded; version {self.served.number} goes on answering."
            noted = f"{self.trouble} {type(fault).__name__}: {fault}"
            if noted != self._noted:
                self._log.warning("%s", noted)
            self._noted = noted

    def _load(self, number: int | None, content: str) -> Served:
        scorer = self._models.load(number)
        with model_folder.asking(scorer, "the example"):
            example, answer = examples.scored(scorer)
        since = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Served(number, content, scorer, since, reading.Form.of(scorer.spec), example, answer)
