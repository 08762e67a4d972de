"""Stage I/O: a stage's outputs are all new or all old, and inputs are what their stage wrote."""

import fcntl
import json
from pathlib import Path

import pandas as pd
import pytest

from pipeline import params as params_module
from pipeline import process
from pipeline.adapters import files
from pipeline.adapters.stage import Stage
from pipeline.errors import ArtefactError, NotEnoughData
from pipeline.paths import Workspace, catalogue


@pytest.fixture
def stage(project_root, tmp_path):
    params = params_module.load(project_root / "params.yaml")
    return lambda name: Stage(name, Workspace(tmp_path), params)


def fill(stage: Stage, skip: str = "") -> None:
    """Write something for every artefact of stage `train`."""
    stage.save_json("train/summary.json", {"rows": 1})
    stage.save_table("train/out_of_sample.parquet", pd.DataFrame({"lead_id": ["a"], "margin": [0.5]}))
    if skip != "members":
        folder = stage.new_folder("train/members")
        files.write_json(folder / "margin.json", {})


def test_outputs_appear_with_their_manifest(stage, tmp_path):
    stage("train").execute(fill)
    manifest = json.loads((tmp_path / "data/train/manifest.json").read_text())
    assert set(manifest) == {"members", "out_of_sample.parquet", "summary.json"}
    assert manifest["summary.json"] == files.sha256(tmp_path / "data/train/summary.json")
    assert not (tmp_path / "data/train/.new").exists()
    assert stage("calibrate").json("train/summary.json") == {"rows": 1}


def test_a_failing_stage_leaves_the_last_good_outputs(stage, tmp_path):
    stage("train").execute(fill)

    def fail(stage: Stage) -> None:
        fill(stage)
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        stage("train").execute(fail)
    assert stage("calibrate").json("train/summary.json") == {"rows": 1}
    assert not (tmp_path / "data/train/.new").exists()


def test_a_thin_history_is_told_what_a_model_takes_and_what_ranks_the_leads_until_then(stage, tmp_path, capsys):
    def refuse(conversions):
        def run(one: Stage) -> None:
            raise NotEnoughData("the test window is thin.", conversions=conversions)

        with pytest.raises(NotEnoughData) as raised:
            stage("featurize").execute(run)
        return raised.value

    # 50 conversions in the newest 30 % of the leads are 166.7 in the whole history.
    asked = "asks for 50 conversions in the test window, the newest 30% of the leads: that takes a history with about"
    (note,) = refuse(27).__notes__
    assert f"{asked} 167 conversions, 140 more than the 27 of now. " in note
    assert note.endswith("the contract has none yet, and docs/cards.md shows how to write one.")
    (unknown,) = refuse(None).__notes__
    assert f"{asked} 167 conversions. " in unknown
    card = tmp_path / "data" / "cards" / "demo.yaml"
    card.parent.mkdir(parents=True)
    card.write_text("")
    thin = refuse(400)
    (enough,) = thin.__notes__
    assert "0 more than the 400 of now" in enough
    assert enough.endswith("`leads card score` ranks the open leads by the contract's points card, without a model.")

    def act():
        raise thin

    assert process.exit_code(act) == 7
    assert capsys.readouterr().err == f"error: the test window is thin.\n{enough}\n"


def test_a_stage_that_leaves_something_out_replaces_nothing(stage):
    with pytest.raises(ArtefactError, match="did not make members"):
        stage("train").execute(lambda one: fill(one, skip="members"))


def test_a_changed_or_missing_input_is_refused(stage, tmp_path):
    with pytest.raises(ArtefactError, match="run `dvc repro train` first"):
        stage("calibrate").json("train/summary.json")
    stage("train").execute(fill)
    (tmp_path / "data/train/summary.json").write_text("{}")
    with pytest.raises(ArtefactError, match="is not what stage train wrote"):
        stage("calibrate").json("train/summary.json")


def test_two_processes_do_not_write_one_folder(stage, tmp_path):
    (tmp_path / "data/train").mkdir(parents=True)
    with open(tmp_path / "data/train/.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ArtefactError, match="being written by another process"):
            stage("train").execute(fill)


def test_a_stage_writes_only_what_the_catalogue_gives_it(stage):
    with pytest.raises(KeyError, match="does not make"):
        stage("train").execute(lambda one: one.save_json("tune/best.json", {}))


def test_tables_are_written_in_row_groups_and_read_back_unchanged(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ROW_GROUP", 2)
    frame = pd.DataFrame(
        {
            "lead_id": pd.Series(["a", "b", None], dtype="str"),
            "at": pd.to_datetime(["2024-01-01", None, "2024-01-02T03:04:05.123456"], format="ISO8601").astype(
                "datetime64[us]"
            ),
            "x": [0.1, None, 1 / 3],
        }
    )
    files.write_table(tmp_path / "t.parquet", frame)
    pd.testing.assert_frame_equal(files.read_table(tmp_path / "t.parquet"), frame)
    first = (tmp_path / "t.parquet").read_bytes()
    files.write_table(tmp_path / "t.parquet", iter([frame.iloc[:2], frame.iloc[2:]]))
    assert files.read_table(tmp_path / "t.parquet").equals(frame)
    files.write_table(tmp_path / "t.parquet", frame)
    assert (tmp_path / "t.parquet").read_bytes() == first


@pytest.mark.parametrize("rows", [0, 1, 45_000, 50_000])
def test_the_bytes_of_a_table_do_not_depend_on_its_parts(tmp_path, monkeypatch, rows):
    """Pages, too, are cut at the same rows: the texts here fill several of them."""
    monkeypatch.setattr(files, "ROW_GROUP", 25_000)
    numbers = pd.Series(range(rows), dtype="int64")
    frame = pd.DataFrame({"lead_id": numbers.map("L{:06d}".format).astype("str"), "x": numbers / 3, "kind": "call"})
    frame["kind"] = frame["kind"].astype("str")
    written = set()
    for size in (100_000, 25_000, 9_999):
        parts = [frame.iloc[at : at + size] for at in range(0, max(rows, 1), size)]
        files.write_table(tmp_path / "t.parquet", iter([*parts, frame.iloc[:0]]))
        written.add((tmp_path / "t.parquet").read_bytes())
        pd.testing.assert_frame_equal(files.read_table(tmp_path / "t.parquet"), frame)
    files.write_table(tmp_path / "t.parquet", pd.concat([frame.iloc[: rows // 3], frame.iloc[rows // 3 :]]))
    assert written == {(tmp_path / "t.parquet").read_bytes()}


def test_a_table_is_read_in_parts_and_by_key(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ROW_GROUP", 2)
    monkeypatch.setattr(files, "PART_ROWS", 3)
    frame = pd.DataFrame(
        {"lead_id": pd.Series(["A", "a", "a", "z", "é"], dtype="str"), "x": [1.0, 2.0, None, 4.0, 5.0]}
    )
    files.write_table(tmp_path / "t.parquet", frame)
    table = files.Parts(tmp_path / "t.parquet")
    for _ in range(2):
        assert [len(part) for part in table] == [3, 2]
        pd.testing.assert_frame_equal(pd.concat(table, ignore_index=True), frame)
    assert table.total == 5
    for first, last in [("A", "A"), ("B", "a"), ("a", "z"), ("z", "é"), ("é", "é"), ("zz", "zzz")]:
        expected = frame[frame["lead_id"].between(first, last)].reset_index(drop=True)
        pd.testing.assert_frame_equal(table.between("lead_id", first, last), expected)


def test_an_empty_table_is_one_part(tmp_path):
    empty = pd.DataFrame({"lead_id": pd.Series([], dtype="str"), "at": pd.Series([], dtype="datetime64[us]")})
    files.write_table(tmp_path / "t.parquet", empty)
    (part,) = files.Parts(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(part, empty)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    files.write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(ValueError, match="Out of range float"):
        files.write_json(tmp_path / "a.json", {"new": float("nan")})
    assert files.read_json(tmp_path / "a.json") == {"old": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_every_artefact_is_named_once_and_has_a_grain():
    assert all(artefact.grain and artefact.about for artefact in catalogue.values())
    private = [name for name, artefact in catalogue.items() if not artefact.cached and artefact.stage != "register"]
    assert private == ["ingest/refused.parquet", "validate/quarantine.parquet"]


def test_a_link_is_written_through_and_a_device_or_folder_refused(tmp_path):
    (tmp_path / "target.json").write_text("{}")
    (tmp_path / "link.json").symlink_to(tmp_path / "target.json")
    files.write_json(tmp_path / "link.json", {"new": 1})
    assert (tmp_path / "link.json").is_symlink()
    assert files.read_json(tmp_path / "target.json") == {"new": 1}
    for place in (tmp_path, Path("/dev/null"), tmp_path / "target.json" / "x.json"):
        with pytest.raises(ArtefactError, match=r"is not a file|cannot be written"):
            files.write_json(place, {})
    assert Path("/dev/null").is_char_device()
