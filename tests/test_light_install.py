"""With requirements-inference.txt alone, what needs more says in one line what to install."""

import subprocess
import sys

import pytest
from conftest import PROJECT

CODE = """
import runpy, sys
sys.modules["pandas"] = sys.modules["torch"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-c", CODE, *arguments], cwd=PROJECT, capture_output=True, text=True
    )


@pytest.mark.parametrize("script", ["data_preparation.py", "train.py"])
def test_script_names_what_is_missing(script):
    result = run(script)
    assert result.returncode == 2
    assert result.stderr == "error: pandas is missing: install all, see README: Installation\n"


def test_a_job_is_coded():
    result = run("inference.py", "Nurse")
    assert result.returncode == 0, result.stderr
    assert "29-1141.00" in result.stdout


def test_torch_names_what_is_missing():
    result = run("inference.py", "Nurse", "--backend", "torch")
    assert result.returncode == 2
    assert result.stderr.endswith("install all, see README: Installation\n")
