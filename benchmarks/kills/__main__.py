"""Does a search that is killed at random moments end as an uninterrupted one?

    python -m benchmarks.kills --times 20

A small demo history is made in a folder of its own and tuned once without a break. Then the search is begun anew as
many times as asked: each is killed (SIGKILL) at a random moment, begun again, killed again with chance one half, and
then left to end. The outputs of the stage must be the same to the byte every time.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline import params as params_module
from pipeline import process
from pipeline.adapters.stage import Stage
from pipeline.paths import Workspace, find_root

SMALLER = {
    "leads: 20000": "leads: 2000",
    "max_rounds: 500": "max_rounds: 50",
    "  folds: 4\n  first_fold": "  folds: 3\n  first_fold",
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--times", type=int, default=20)
    arguments.add_argument("--seed", type=int, default=1)
    asked = arguments.parse_args()
    process.configure_environment()
    root = find_root(Path(__file__))
    chance = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        workspace = made(root, Path(folder))
        begun = time.monotonic()
        whole, _ = tuned(workspace, None)
        usual = time.monotonic() - begun
        print(f"uninterrupted: {usual:.0f} s, manifest {whole}")
        same = 0
        for k in range(asked.times):
            shutil.rmtree(workspace.mlruns)
            workspace.mlruns.mkdir()
            shutil.rmtree(workspace.stage("tune"))
            kills = []
            while not kills or chance.random() < 0.5:
                kills.append(chance.uniform(0.05, 0.9) * usual)
                _, ended = tuned(workspace, kills[-1])
                if ended:
                    break
            found, _ = tuned(workspace, None)
            same += found == whole
            moments = ", ".join(f"{kill:.1f}" for kill in kills)
            print(f"{k + 1}: killed after {moments} s: {'the same' if found == whole else 'DIFFERENT'}", flush=True)
    print(f"{same} of {asked.times} ended with the same bytes")
    sys.exit(same != asked.times)


def made(root: Path, folder: Path) -> Workspace:
    """A workspace in which everything before `tune` has run on a small demo history."""
    text = (root / "params.yaml").read_text(encoding="utf-8")
    for old, new in SMALLER.items():
        if old not in text:
            raise SystemExit(f"params.yaml no longer says {old!r}")
        text = text.replace(old, new)
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    shutil.copyfile(root / "dvc.yaml", folder / "dvc.yaml")
    shutil.copytree(root / "data" / "contracts", folder / "data" / "contracts")
    workspace = Workspace(folder)
    workspace.mlruns.mkdir()
    from pipeline.stages import featurize, ingest, validate

    params = params_module.load(workspace.params)
    for stage in (ingest, validate, featurize):
        Stage(stage.__name__.rpartition(".")[2], workspace, params).execute(stage.run)
    return workspace


def tuned(workspace: Workspace, kill_after: float | None) -> tuple[str, bool]:
    """Run the stage as a process of its own; hash of its manifest ("" where it was killed), and whether it ended."""
    stage = subprocess.Popen(
        [sys.executable, "-m", "pipeline.stages.tune"],
        cwd=workspace.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _, said = stage.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        stage.kill()
        stage.communicate()
        return "", False
    if stage.returncode:
        raise SystemExit(f"the stage failed with exit code {stage.returncode}: {said[-1000:]}")
    manifest = json.loads((workspace.stage("tune") / "manifest.json").read_text(encoding="utf-8"))
    return ", ".join(f"{name} {sha[:8]}" for name, sha in sorted(manifest.items())), True


if __name__ == "__main__":
    main()
