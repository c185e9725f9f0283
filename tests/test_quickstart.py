"""examples/quickstart.ipynb: its code runs, and its stored outputs are fit to be published."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import PROJECT

from inference import MODEL_DIR

CELLS = json.loads((PROJECT / "examples/quickstart.ipynb").read_text(encoding="utf-8"))["cells"]
OUTPUTS = [output for cell in CELLS if cell["cell_type"] == "code" for output in cell["outputs"]]


def copy_as_cloned(folder: Path) -> None:
    """What the notebook needs of a fresh clone, where there are no O*NET data."""
    shutil.copy(PROJECT / "inference.py", folder)
    shutil.copytree(PROJECT / "common", folder / "common")
    shutil.copytree(PROJECT / "written", folder / "written")
    shutil.copytree(PROJECT / "examples", folder / "examples")
    others = shutil.ignore_patterns("model.safetensors")  # of the other engine
    shutil.copytree(PROJECT / MODEL_DIR, folder / MODEL_DIR, ignore=others)


def test_code_runs_in_a_fresh_clone(tmp_path):
    copy_as_cloned(tmp_path)
    sources = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
    script = "\n".join([*sources, "print('own title:', after['code'][0])"])
    (tmp_path / "examples/quickstart.py").write_text(script, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "quickstart.py"],
        cwd=tmp_path / "examples",
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "own title: 37-2011.00" in result.stdout


def test_stored_outputs_hold_no_error_and_no_path():
    text = json.dumps(OUTPUTS)
    assert not [
        output
        for output in OUTPUTS
        if output["output_type"] == "error" or output.get("name") == "stderr"
    ]
    assert not [
        path
        for path in ("/tmp/", "/home/", "/root/", "/Users/", ":\\\\", str(PROJECT))
        if path in text
    ]


def test_stored_evidence_is_of_a_run_without_onet_texts():
    tables = ["".join(output.get("data", {}).get("text/html", "")) for output in OUTPUTS]
    (evidence,) = [table for table in tables if "<th>kind</th>" in table]
    assert "<td>label</td>" in evidence
    assert "<td>title</td>" not in evidence and "<td>task</td>" not in evidence
