"""The error tree. Each class has an exit code, so that a failed job can be told apart without its log.

    LeadScoringError            1   base of everything this package raises on purpose
    ├── ParamsError             2   params.yaml or a command's options
    ├── ContractError           3   a contract in data/contracts/
    ├── SourceError             4   a source file: missing, wrong hash, unreadable, wrong columns
    ├── ValidationFailed        5   too many rows refused or quarantined
    ├── ArtefactError           6   a stage's input is missing, changed behind its manifest, or being written
    ├── NotEnoughData           7   no matured snapshots, or a split without both outcomes
    ├── RegistryError           8   MLflow: no such version, the alias moved, nothing approved
    ├── ModelError              9   a scorer: an incomplete or altered folder, another format, or input it cannot use
    ├── ProofFailed            10   a feature looks into the future, or a split is not sound
    └── CardError              11   a points card in data/cards/, or sample leads that it counts otherwise than expected

A scorer carries its own code, which cannot import this module: its `ScorerError` states the exit code 9 itself, and
`adapters.model_folder` raises it as a `ModelError`.

A candidate that the gate refuses is a recorded decision, not an error.

Messages are whole sentences: what was seen, what is allowed, what to do. They name files, lines, columns and keys,
never a lead's values.
"""


class LeadScoringError(Exception):
    """Base class; `exit_code` is the process's exit status."""

    exit_code = 1


class ParamsError(LeadScoringError):
    exit_code = 2


class ContractError(LeadScoringError):
    exit_code = 3


class SourceError(LeadScoringError):
    exit_code = 4


class ValidationFailed(LeadScoringError):
    exit_code = 5


class ArtefactError(LeadScoringError):
    exit_code = 6


class NotEnoughData(LeadScoringError):
    """`conversions`: how many the whole history holds, where that was counted."""

    exit_code = 7

    def __init__(self, message: str, *, conversions: int | None = None) -> None:
        super().__init__(message)
        self.conversions = conversions


class RegistryError(LeadScoringError):
    exit_code = 8


class ModelError(LeadScoringError):
    exit_code = 9


class ProofFailed(LeadScoringError):
    exit_code = 10


class CardError(LeadScoringError):
    exit_code = 11


def lacking(rows: int, conversions: int) -> str:
    """What rows of one outcome lack, in words: `at least 1 more conversion`."""
    won = ["1 more conversion"] if conversions == 0 else []
    lost = ["1 lead that does not convert"] if conversions == rows else []
    return f"at least {' and '.join(won + lost)}"


def meanwhile(has_card: bool) -> str:
    """What ranks the open leads until there are enough conversions, as a sentence; `has_card`: the contract has one."""
    if has_card:
        return "Until then, `leads card score` ranks the open leads by the contract's points card, without a model."
    return (
        "Until then, a points card can rank the open leads without a model (`leads card score`); the contract has none "
        "yet, and docs/cards.md shows how to write one."
    )
