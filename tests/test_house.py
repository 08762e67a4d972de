"""The house rules: what no single room can check about itself.

One name in six places, deps that cover every import, a catalogue that agrees with dvc.yaml, imports that run one way,
clean style and types, and documents that name only what exists.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

from pipeline import params as params_module
from pipeline.adapters import candidates
from pipeline.leads import tables
from pipeline.params import Params, Section
from pipeline.paths import STAGES, catalogue

ROOT = Path(__file__).resolve().parent.parent
PIPELINE = ROOT / "pipeline"
DVC: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))

#: Inputs of `ingest` that no stage makes: the contract in use, and the user's own files.
SOURCES = {"data/cards", "data/contracts/${run.contract}.yaml", "data/playbooks", "data/raw"}

#: Libraries whose import takes seconds, and the stages that may pay for them: every stage is a process of its own.
HEAVY = {
    "dvc": set(),
    "great_expectations": {"validate"},
    "matplotlib": {"featurize", "explain", "evaluate"},
    "mlflow": {"tune", "register"},
    "optuna": {"tune"},
    "shap": {"explain"},
}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)


def source(module: str) -> ast.Module:
    return ast.parse(file_of(module).read_text(encoding="utf-8"))


def file_of(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def modules(room: str) -> list[str]:
    """Modules of one room of the package, e.g. `leads`, or of one file, e.g. `cli`."""
    name = f"pipeline.{room}"
    return sorted({name, *graph().find_descendants(name)})


@cache
def graph() -> grimp.ImportGraph:
    """Who imports whom in this package, imports inside functions included, those for type checkers left out."""
    return grimp.build_graph(
        "pipeline", include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )


def ours() -> list[str]:
    return sorted(name for name in graph().modules if name.split(".")[0] == "pipeline")


def closure(module: str) -> set[str]:
    """Every module that running `module` may import: packages run their `__init__` too."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        waiting.extend(graph().find_modules_directly_imported_by(name))
        if name.startswith("pipeline."):
            waiting.append(name.rpartition(".")[0])
    return found


def of_stage(stage: str) -> str:
    return f"pipeline.stages.{stage}"


def paths(entries: list[Any]) -> list[str]:
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def texts() -> list[Path]:
    """Every file of the project that git holds or would hold."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


# One name in six places


def test_dvc_yaml_has_the_stages_in_order():
    assert tuple(DVC["stages"]) == STAGES


def test_params_yaml_has_run_and_one_section_per_stage_in_order():
    written = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert tuple(written) == ("run", *STAGES)
    assert params_module.load(ROOT / "params.yaml").run.contract


def test_params_has_one_class_per_stage():
    fields = {field.alias or name: field.annotation for name, field in Params.model_fields.items()}
    assert tuple(fields) == ("run", *STAGES)
    for stage in STAGES:
        section = getattr(params_module, stage.capitalize())
        assert issubclass(section, Section)
        assert fields[stage] is section


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_its_file_its_folder_and_its_test(stage):
    assert file_of(of_stage(stage)).is_file()
    assert {artefact.stage for artefact in catalogue.values()} == set(STAGES)
    assert (ROOT / "tests" / "stages" / f"test_{stage}.py").is_file()


def test_no_stage_file_without_a_stage():
    assert {path.stem for path in (PIPELINE / "stages").glob("*.py")} == {"__init__", *STAGES}


# dvc.yaml


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_described_and_its_command_is_constant(stage):
    assert DVC["stages"][stage]["desc"].endswith((".", "?"))
    assert DVC["stages"][stage]["cmd"] == f"python -m {of_stage(stage)}"


@pytest.mark.parametrize("stage", STAGES)
def test_deps_name_exactly_the_modules_a_stage_may_import(stage):
    """DVC skips a stage whose code changed in a module that its deps do not name, or in a template beside one."""
    needed = {
        str(file_of(name).relative_to(ROOT)) for name in closure(of_stage(stage)) if name.split(".")[0] == "pipeline"
    }
    needed |= read_beside(stage)
    if stage == "calibrate":  # the scorer's code is copied into the model, every file of it
        needed |= {str(path.relative_to(ROOT)) for path in (PIPELINE / "scorer").rglob("*.py")}
    declared = {path for path in DVC["stages"][stage]["deps"] if path.startswith("pipeline/")}
    assert sorted(declared) == sorted(needed)


def test_no_import_that_the_rule_above_cannot_see():
    """The one import by name is that of a finished scorer, whose code is part of the artefact."""
    for name in ours():
        called = {node.attr for node in ast.walk(source(name)) if isinstance(node, ast.Attribute)}
        imports_by_name = bool(called & {"import_module", "exec_module"})
        assert imports_by_name == (name == "pipeline.adapters.model_folder"), name


def read_beside(stage: str) -> set[str]:
    """Files in a folder `templates` beside a module that a stage may import."""
    folders = {file_of(name).parent for name in closure(of_stage(stage)) if name.split(".")[0] == "pipeline"}
    return {str(path.relative_to(ROOT)) for folder in folders for path in (folder / "templates").glob("*")}


def test_only_python_and_templates_lie_in_the_package():
    """Anything else that a stage reads would have to stand in deps by hand, and be named to be installed."""
    import tomllib

    others = [
        path
        for path in PIPELINE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".py"
    ]
    assert {path.parent.name for path in others} == {"templates"}
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    packages = {".".join(path.parent.parent.relative_to(ROOT).parts) for path in others}
    assert setuptools["package-data"] == {package: ["templates/*"] for package in packages}


@pytest.mark.parametrize("stage", STAGES)
def test_outs_are_the_catalogue_of_the_stage(stage):
    outs = {next(iter(entry)): next(iter(entry.values())) for entry in DVC["stages"][stage]["outs"]}
    owned = [artefact for artefact in catalogue.values() if artefact.stage == stage]
    assert list(outs) == [f"data/{artefact.name}" for artefact in owned]
    for artefact in owned:
        # persist: DVC would otherwise delete the last good outputs before the stage starts.
        expected = {"persist": True} if artefact.cached else {"persist": True, "cache": False}
        assert outs[f"data/{artefact.name}"] == expected, artefact.name


@pytest.mark.parametrize("stage", STAGES)
def test_data_deps_are_artefacts_of_earlier_stages_with_their_manifests(stage):
    data = [path for path in DVC["stages"][stage]["deps"] if not path.startswith("pipeline/")]
    if stage == "ingest":
        assert set(data) == SOURCES
        return
    names = {path.removeprefix("data/") for path in data}
    assert names <= set(catalogue)
    makers = {catalogue[name].stage for name in names}
    assert all(STAGES.index(maker) < STAGES.index(stage) for maker in makers)
    assert {f"{maker}/manifest.json" for maker in makers} <= names


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_artefacts_that_the_stage_names(stage):
    declared = {path.removeprefix("data/") for path in DVC["stages"][stage]["deps"]} & set(catalogue)
    assert {name for name in declared if not name.endswith("/manifest.json")} == artefacts_read(stage)


def artefacts_read(stage: str) -> set[str]:
    """Artefacts of other stages that a stage names, `f"validate/{table}.parquet"` for each of the three tables."""
    named = set()
    for node in ast.walk(source(of_stage(stage))):
        if isinstance(node, ast.Constant):
            named.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            for table in tables.TABLES:
                named.add("".join(part.value if isinstance(part, ast.Constant) else table for part in node.values))
    if stage == "register":  # logs every result of the stages before
        named |= {artefact.name for artefact in candidates.logged()} | {"calibrate/scorer"}
    return {name for name in named if name in catalogue and catalogue[name].stage != stage and "manifest" not in name}


@pytest.mark.parametrize("stage", STAGES)
def test_declared_params_are_those_that_the_stage_reads(stage):
    assert set(DVC["stages"][stage]["params"]) == params_read(stage)


def params_read(stage: str) -> set[str]:
    """Sections of params.yaml that a stage names, and keys of `run`.

    `run.threads` stays out: results are the same for any number, so it must not cause a rerun. `run` handed on whole
    goes to pure code, which takes seed and threads from it.
    """
    read = {"run.seed"}  # every stage process is seeded
    for chain in _chains(source(of_stage(stage))):
        if chain == ["stage", "params"]:  # handed on whole
            read |= {"run.contract", *STAGES}
        elif chain[:2] == ["stage", "params"]:
            section = chain[2].rstrip("_")
            read.add(".".join([section, *chain[3:4]]) if section == "run" else section)
    return read - {"run", "run.threads"}


def _chains(tree: ast.Module) -> list[list[str]]:
    """Every dotted name in full (`stage.params.run.seed` once, not its beginnings too), short names written out.

    `params = stage.params` makes `params.run.seed` another spelling of the same.
    """
    short: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target, value in _pairs(node.targets[0], node.value):
                if isinstance(target, ast.Name) and _dotted(value)[:2] == ["stage", "params"]:
                    short[target.id] = _dotted(value)
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    chains = [
        _dotted(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in inner
    ]
    given = [chain for chain in chains if chain and chain not in short.values()]
    return [[*short.get(chain[0], chain[:1]), *chain[1:]] for chain in given]


def _pairs(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return list(zip(target.elts, value.elts, strict=True))
    return [(target, value)]


def _dotted(node: ast.AST) -> list[str]:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else []


def test_plots_and_metrics_are_in_the_catalogue():
    named = [*DVC["metrics"], *paths(DVC["plots"])]
    assert all(name.removeprefix("data/") in catalogue for name in named)


def test_dvc_reads_the_file():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = run("dvc", "stage", "list", "--name-only")
    assert listed.stdout.split() == list(STAGES), listed.stderr


# Imports and what a room may know


def test_imports_run_one_way():
    checked = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout[-4000:] + checked.stderr


def test_only_the_command_line_asks_for_what_is_put_together_on_demand():
    """A room above `adapters` and `scoring`, beside the stages, which know nothing of it."""
    assert len(modules("ondemand")) > 1
    users = {user for module in modules("ondemand") for user in graph().find_modules_that_directly_import(module)}
    assert users - set(modules("ondemand")) == {
        "pipeline.cli",
        "pipeline.cli_card",
        "pipeline.cli_score",
        "pipeline.cli_serve",
        "pipeline.cli_verify",
        "pipeline.cli_versions",
    }
    used = {name for module in modules("ondemand") for name in graph().find_modules_directly_imported_by(module)}
    assert not {name for name in used if name.startswith(("pipeline.stages", "pipeline.cli"))}


def test_the_tests_mirror_the_rooms():
    rooms = {path.name for path in PIPELINE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and list(path.glob("test_*.py"))}
    assert rooms == folders


def test_the_scorer_needs_only_numpy_pandas_and_xgboost():
    used = {name for module in modules("scorer") for name in graph().find_modules_directly_imported_by(module)}
    used -= set(modules("scorer")) | set(sys.stdlib_module_names)
    assert used <= {"numpy", "pandas", "xgboost"}


def test_leads_needs_only_numpy_pandas_and_pydantic():
    used = {name for module in modules("leads") for name in graph().find_modules_directly_imported_by(module)}
    used = {name for name in used if name.split(".")[0] != "pipeline"}
    assert used - set(sys.stdlib_module_names) <= {"numpy", "pandas", "pydantic"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_pays_only_for_the_libraries_it_needs(stage):
    external = closure(of_stage(stage)) & set(HEAVY)
    assert external <= {library for library, allowed in HEAVY.items() if stage in allowed}


def test_features_are_built_without_the_library_of_trees():
    """The scorer's package imports it where a member is one of trees: it takes more than a second."""
    code = "import sys, pipeline.stages.ingest, pipeline.stages.featurize; print('xgboost' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("room", ["stages", "leads", "scoring", "scorer", "params", "paths"])
def test_no_clock_and_no_environment(room):
    clocks = {"now", "today", "utcnow", "time_ns", "monotonic", "perf_counter", "environ", "getenv"}
    for module in modules(room):
        for node in ast.walk(source(module)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
                assert node.attr not in clocks, f"{module}, line {node.lineno}: {node.attr}"


def test_nothing_is_pickled():
    imported = {name for module in graph().modules for name in graph().find_modules_directly_imported_by(module)}
    assert not imported & {"pickle", "cloudpickle", "joblib", "dill", "skops"}


def test_no_utils_and_no_packages_among_the_tests():
    assert not [path for path in ROOT.glob("pipeline/**/*.py") if path.stem in {"utils", "helpers", "common", "misc"}]
    assert not list(ROOT.glob("tests/**/__init__.py"))


def test_every_module_says_what_it_is():
    for module in ours():
        assert ast.get_docstring(source(module)), f"{module} has no docstring"


# Style and types


def test_ruff_finds_nothing():
    checked = run("ruff", "check", "--no-cache", "--output-format", "concise", ".")
    assert checked.returncode == 0, checked.stdout[-4000:] + checked.stderr


def test_ruff_would_format_nothing():
    checked = run("ruff", "format", "--no-cache", "--check", "--quiet", ".")
    assert checked.returncode == 0, "run `make format`: " + checked.stdout[-4000:] + checked.stderr


@pytest.mark.slow  # a minute without the cache of an earlier run: begun last it would end alone
def test_mypy_finds_nothing():
    checked = run("mypy")
    assert checked.returncode == 0, checked.stdout[-4000:] + checked.stderr


# Locks and documents


def pins(file: str) -> dict[str, str]:
    """Requirement with its marker -> the text of its block."""
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9])", (ROOT / file).read_text(encoding="utf-8"))
    return {block.split("\\")[0].strip(): block for block in blocks if block.strip()}


@pytest.mark.parametrize("file", ["requirements.lock", "requirements-signing.lock", "requirements-test.lock"])
def test_a_lock_is_exact_hashed_and_names_no_host(file):
    for pin, block in pins(file).items():
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==\S+", pin), pin
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), pin
    text = (ROOT / file).read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"(?m)^\s*(--(extra-)?index-url|--find-links|-[if]) ", text)


def test_each_lock_adds_to_the_one_before_and_changes_nothing():
    plain, signing, test = (set(pins(f"requirements{name}.lock")) for name in ("", "-signing", "-test"))
    assert plain < signing < test


def test_the_lock_has_what_pyproject_asks_for():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    locked = {pin.split("==")[0].split("[")[0].lower(): pin.split(";")[0].strip() for pin in pins("requirements.lock")}
    for wanted in project["dependencies"]:
        name = re.split(r"[=<>\[]", wanted)[0]
        assert name in locked
        if "==" in wanted:
            assert locked[name] == wanted


def test_documents_name_only_commands_that_exist():
    from pipeline import cli

    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    commands = {command.name or command.callback.__name__ for command in cli.app.registered_commands}
    commands |= {group.name for group in cli.app.registered_groups}
    documents = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
    for document in documents:
        text = document.read_text(encoding="utf-8")
        fences = re.findall(r"(?ms)^```sh$.*?^```$", text)
        spans = re.findall(r"`[^`\n]+`", re.sub(r"(?ms)^```.*?^```$", "", text))
        code = "\n".join(fences + spans)
        assert set(re.findall(r"(?m)(?:^|`)make ([a-z]+)", code)) <= targets, document.name
        assert set(re.findall(r"(?m)(?:^|`)leads ([a-z]+)", code)) <= commands, document.name


def test_the_readme_asks_its_question_first_and_names_every_stage():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.index("?") < text.index("## ")
    table = re.findall(r"(?m)^\| `(\w+)` \|", text)
    assert tuple(table[: len(STAGES)]) == STAGES
    for heading in ("Choices made", "New data next month", "Supported systems", "Glossary"):
        assert f"## {heading}" in text


def test_links_between_documents_lead_somewhere():
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text(encoding="utf-8")):
            assert "://" in link or (document.parent / link).exists(), f"{document.name}: {link}"


def test_every_key_of_the_contract_schema_is_explained():
    from pipeline.leads import contract

    text = (ROOT / "docs" / "contracts.md").read_text(encoding="utf-8")
    parts = [value for value in vars(contract).values() if isinstance(value, type) and issubclass(value, contract.Part)]
    keys = {key for part in parts if part is not contract.Resolved for key in part.model_fields}
    assert not {key for key in keys if f"`{key}`" not in text}


def test_no_file_names_a_machine_or_a_package_index():
    index = "|".join(["py" + "pi", "python" + "hosted", "ana" + "conda", "art" + "ifactory"])
    home = r"(?<![\w.])/(?:" + "|".join(["wo" + "rk", "ro" + "ot", "ho" + "me/[a-z]+", "Us" + "ers"]) + ")/"
    pattern = re.compile(f"{index}|{home}", re.IGNORECASE)
    for path in texts():
        if path.suffix not in {".png", ".parquet"}:
            found = pattern.search(path.read_text(encoding="utf-8"))
            assert found is None, f"{path.relative_to(ROOT)}: {found.group() if found else ''}"
