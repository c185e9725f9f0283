"""The scripts that draw, run whole."""

import subprocess
import sys

from conftest import PROJECT


def run(*arguments):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=PROJECT, capture_output=True, text=True
    )


def test_pictures_are_drawn_and_the_table_printed(trained_dir, data_dir, tmp_path):
    folders = (
        "--model-dir",
        trained_dir,
        "--data-dir",
        data_dir,
        "--output-dir",
        tmp_path / "pictures",
    )
    result = run("-m", "benchmarks.pictures", *folders)
    assert result.returncode == 0, result.stderr
    assert "| validation titles |" in result.stdout
    names = sorted(path.stem for path in (tmp_path / "pictures").iterdir())
    assert names == ["accuracy_by_group", "confusion", "reliability"]


def test_map_is_drawn_for_a_job(tmp_path):
    result = run("examples/occupation_map.py", "Barista", "--output", tmp_path / "map.png")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_map_of_no_job_is_refused_in_one_line(tmp_path):
    result = run("examples/occupation_map.py", " ", "--output", tmp_path / "map.png")
    assert result.returncode != 0
    assert result.stderr == "error: the job title is empty\n"
    assert not (tmp_path / "map.png").exists()
