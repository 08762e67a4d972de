"""From files on disk to a contract, and the line that names it."""

import shutil

import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline import params as params_module
from pipeline.adapters import proposals, sources
from pipeline.errors import ArtefactError, ContractError, ParamsError, SourceError
from pipeline.leads.proposal_draft import Wishes
from pipeline.paths import Workspace
from tests import lead_files
from tests.workspaces import run_stages

LIMIT = 2**30


@pytest.fixture
def workspace(tmp_path, project_root):
    root = tmp_path / "project"
    (root / "data" / "contracts").mkdir(parents=True)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(project_root / name, root / name)
    return Workspace(root)


def put(folder, export: lead_files.Export):
    path = folder / export.name
    path.write_bytes(export.content)
    return path


@pytest.fixture
def init(workspace):
    """Propose a contract for files; what was logged is kept."""

    def act(*paths, name=None, wishes=None, force=False, **more):
        params = params_module.load(workspace.params)
        given_ = {"leads": [str(path) for path in paths]} | {k: [str(v)] for k, v in more.items()}
        act.log = []
        return proposals.init(
            workspace, params, given_, name=name, wishes=wishes or Wishes(), force=force, log=act.log.append
        )

    return act


# The contract


def test_the_contract_is_written_with_its_comments_and_the_file_is_linked(init, workspace, tmp_path):
    path = put(tmp_path, lead_files.pipeline_report())
    written = init(path)
    assert written.path == workspace.contract("pipeline") and written.name == "pipeline"
    resolved = sources.read_contract(workspace, "pipeline")
    assert resolved.contract.outcome.open == ["Open"]
    link = workspace.raw / "pipeline" / "pipeline.csv"
    assert link.is_symlink() and link.resolve() == path.resolve()
    assert any("a link to" in line for line in written.placed)
    text = written.path.read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= 120
    assert text.count("# guess") > 10


def test_what_is_said_on_the_terminal(init, tmp_path):
    said = proposals.in_words(init(put(tmp_path, lead_files.course_seller())))
    assert "Leaks, left out (1)" in said and "Tags" in said
    assert "leads use course_leads" in said and "For a person to decide" in said
    assert max(map(len, said.splitlines())) <= 200


def test_a_german_file_from_windows(init, workspace, tmp_path):
    init(put(tmp_path, lead_files.german()))
    contract = sources.read_contract(workspace, "anfragen_2023").contract
    file = contract.source.leads
    assert (file.separator, file.encoding, file.decimal) == (";", "cp1252", ",")
    assert contract.columns["Umsatz EUR"].type == "number"


def test_several_files_of_one_table(init, workspace, tmp_path):
    frame = lead_files.contacts().frame
    half = len(frame) // 2
    for k, part in enumerate((frame.iloc[:half], frame.iloc[half:])):
        put(tmp_path, lead_files.Export(f"contacts_{k}.csv", part))
    written = init(str(tmp_path / "contacts_*.csv"), name="crm")
    file = sources.read_contract(workspace, "crm").contract.source.leads
    assert file.paths == ["crm/contacts_0.csv", "crm/contacts_1.csv"]
    assert written.proposal.content["key"] == "Record ID" and init.log[-1].startswith("leads: 2,500 rows")


def test_a_key_that_repeats_in_the_second_file_is_none(tmp_path, init):
    frame = lead_files.contacts().frame.drop(columns=["Email"])
    for k in range(2):
        put(tmp_path, lead_files.Export(f"part_{k}.csv", frame))
    assert init(str(tmp_path / "part_*.csv"), name="crm").proposal.content["key"] == "row_number"


def test_rows_of_a_long_file_are_looked_at_spread_evenly(tmp_path, monkeypatch):
    monkeypatch.setattr(proposals, "LOOKED_AT", 100)
    path = tmp_path / "x.csv"
    path.write_text("n,odd\n" + "".join(f"{k},{k % 2}\n" for k in range(1, 1001)))
    seen = proposals.look([path], ["x.csv"], max_bytes=LIMIT)
    assert seen.rows == 1000 and not seen.complete
    assert seen.cells["n"].tolist() == [str(k) for k in range(1, 1001, 16)]
    assert list(seen.cells.index) == list(range(1, 1001, 16))
    assert seen.repeats["n"] == 0 and seen.repeats["odd"] == 1


# Nothing is overwritten


def test_a_contract_is_replaced_only_when_asked(init, tmp_path):
    path = put(tmp_path, lead_files.pipeline_report())
    init(path)
    with pytest.raises(ParamsError, match="--force"):
        init(path)
    init(path, force=True)


def test_another_file_below_raw_is_left_alone(init, workspace, tmp_path):
    path = put(tmp_path, lead_files.pipeline_report())
    there = workspace.raw / "pipeline" / "pipeline.csv"
    there.parent.mkdir(parents=True)
    there.write_text("something else")
    with pytest.raises(ArtefactError, match="another file"):
        init(path)
    assert there.read_text() == "something else" and not workspace.contract("pipeline").exists()


def test_a_file_below_raw_is_named_where_it_lies(init, workspace):
    folder = workspace.raw / "exports"
    folder.mkdir(parents=True)
    written = init(put(folder, lead_files.pipeline_report()))
    assert written.placed == []
    assert sources.read_contract(workspace, "pipeline").contract.source.leads.path == "exports/pipeline.csv"


def test_where_links_are_not_possible_the_file_is_copied(init, workspace, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("not here")

    monkeypatch.setattr(proposals.os, "symlink", refuse)
    written = init(put(tmp_path, lead_files.pipeline_report()))
    assert "a copy of" in written.placed[0] and not (workspace.raw / "pipeline" / "pipeline.csv").is_symlink()


def test_a_faulty_file_leaves_nothing_behind(init, workspace, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\nred,blue\ngreen,red\nblue,green\n")
    with pytest.raises(ContractError, match="--outcome"):
        init(path)
    assert not workspace.raw.exists() and not list(workspace.contract("x").parent.iterdir())


@pytest.mark.parametrize(
    ("name", "content", "error", "said"),
    [
        ("gone.csv", None, SourceError, "no such file"),
        ("empty.csv", b"", SourceError, "empty"),
        ("header.csv", b"a,b\n", SourceError, "no rows"),
        ("twice.csv", b"a,a\n1,2\n", SourceError, "more than once"),
        ("long.csv", b"a," + 201 * b"x" + b"\n1,2\n", SourceError, "column 2 is longer than 200"),
    ],
)
def test_files_that_cannot_be_read(init, tmp_path, name, content, error, said):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=said):
        init(path)


def test_names_of_contracts(init, tmp_path):
    with pytest.raises(ParamsError, match="small letters"):
        init(put(tmp_path, lead_files.pipeline_report()), name="My CRM")
    path = tmp_path / "2024 Leads (final).csv"
    path.write_bytes(lead_files.pipeline_report().content)
    assert init(path).name == "leads_2024_leads_final"


# The line in params.yaml


def test_use_changes_one_line_and_nothing_else(init, workspace, tmp_path):
    init(put(tmp_path, lead_files.pipeline_report()))
    before = workspace.params.read_text(encoding="utf-8").splitlines()
    assert proposals.use(workspace, "pipeline") == "demo"
    after = workspace.params.read_text(encoding="utf-8").splitlines()
    assert [line for line in before if line not in after] == ["  contract: demo"]
    assert [line for line in after if line not in before] == ["  contract: pipeline"]
    assert proposals.use(workspace, "pipeline") is None


def test_use_refuses_what_is_no_contract(workspace):
    text = workspace.params.read_text()
    with pytest.raises(ContractError, match="no such contract"):
        proposals.use(workspace, "nothing")
    workspace.contract("broken").write_text("contract_version: 1\n")
    with pytest.raises(ContractError, match="broken"):
        proposals.use(workspace, "broken")
    assert workspace.params.read_text() == text


def test_use_says_so_where_the_line_is_of_another_form(init, workspace, tmp_path):
    init(put(tmp_path, lead_files.pipeline_report()))
    text = workspace.params.read_text()
    start, end = text.index("run:"), text.index("\ningest:")
    workspace.params.write_text("run: {contract: demo, seed: 1, threads: 1}" + text[end:] if start else "")
    with pytest.raises(ParamsError, match="by hand"):
        proposals.use(workspace, "pipeline")


# YAML


@given(st.text(max_size=40))
def test_any_text_reads_back_as_itself(text):
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return
    line = proposals.scalar(text)
    assert "\n" not in line
    assert yaml.safe_load(f"{line}: [{line}]") == {text: [text]}


@pytest.mark.parametrize(
    "text", ["yes", "NA", "1", "1e3", "2023-01-01", "~", "null", "a: b", "# x", "", " x", "ä", "'"]
)
def test_texts_that_yaml_takes_for_something_else(text):
    assert yaml.safe_load(proposals.scalar(text)) == text


# From a file to clean tables, without a hand on the contract


@pytest.mark.parametrize("make", ["opportunities", "german"])
def test_a_proposed_contract_runs(init, workspace, tmp_path, make):
    export = getattr(lead_files, make)()
    written = init(put(tmp_path, export))
    proposals.use(workspace, written.name)
    run_stages(workspace, ("ingest", "validate", "featurize"))
    kept = pd.read_parquet(workspace.path("validate/leads.parquet"))
    assert len(kept) == len(export.frame)
    leaks = pd.read_csv(workspace.path("validate/leaks.csv"), keep_default_na=False)
    assert not ((leaks["verdict"] == "leak") & (leaks["in_model"].astype(str) == "True")).any()


def test_three_proposed_tables_run(init, workspace, tmp_path):
    paths = {name: put(tmp_path, export) for name, export in lead_files.tables_of_three().items()}
    written = init(paths["leads"], activities=paths["activities"], changes=paths["changes"])
    proposals.use(workspace, written.name)
    run_stages(workspace, ("ingest", "validate", "featurize"))
    snapshots = pd.read_parquet(workspace.path("featurize/snapshots.parquet"))
    assert {"n_call", "n_page view", "stage"} <= set(snapshots.columns)


@pytest.mark.parametrize(
    ("file", "outcome", "positive", "leak", "time"),
    [
        ("uci_bank_marketing/bank-additional-full.csv", "y", "yes", "duration", "row_order"),
        ("uci_bank_marketing/bank-full.csv", "y", "yes", "duration", "row_order"),
        ("uci_online_shoppers/online_shoppers_intention.csv", "Revenue", "TRUE", "PageValues", "none"),
    ],
)
def test_published_files(init, workspace, lead_data_dir, file, outcome, positive, leak, time):
    written = init(lead_data_dir / file)
    content = written.proposal.content
    assert (content["outcome"]["column"], content["outcome"]["positive"]) == (outcome, positive)
    assert content["time"]["kind"] == time
    leaks = written.proposal.suspects
    convicted = list(leaks.loc[leaks["verdict"] == "leak", "column"])
    assert leak in convicted and len(convicted) <= 3
    sources.read_contract(workspace, written.name)
