"""On a Python that is too old, every script says so in one line."""

import subprocess
import sys

import pytest
from conftest import PROJECT

CODE = """
import runpy, sys
sys.version_info, sys.version = (3, 10, 12), "3.10.12 (main)"
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.mark.parametrize("script", ["data_preparation.py", "train.py", "inference.py"])
def test_an_old_python_is_told_in_one_line(script):
    result = subprocess.run(
        [sys.executable, "-c", CODE, script], cwd=PROJECT, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert result.stderr == "error: Python 3.11 or newer is needed, this is 3.10.12\n"
