"""Scripts killed at any moment, full disks, damaged files, no network, many callers at once.

KILLS=20 SOAK=50000 python -m pytest tests/test_faults.py -m slow -s
"""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import PROJECT
from safetensors.numpy import load_file

import data_preparation
import train
from common.encoders import TOKENIZER_FILE
from common.encoders import WEIGHTS as WEIGHTS_OF
from common.files import InputError
from common.samples import MANIFEST_FILE, load_data
from inference import INDEX_FILE, MODEL_DIR, JobClassifier

KILLS = int(os.environ.get("KILLS", 1))  # of each script
SOAK = int(os.environ.get("SOAK", 1000))  # predictions
SEED = 42  # of the moments
WEIGHTS = WEIGHTS_OF["onnx"]


def start(*command, stderr=subprocess.STDOUT, **settings):
    """A script in a process of its own, whose output can be read as it comes."""
    command = [sys.executable, "-u", *map(str, command)]
    return subprocess.Popen(
        command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=stderr, text=True, **settings
    )


def run(*command, **settings):
    """Exit code and output of a script."""
    process = start(*command, **settings)
    output, _ = process.communicate()
    return process.returncode, output


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


# ------------------------------------------------------------------------------ killed


def seconds_of_work(command, begins, moment=None):
    """Run a script, kill it so many seconds after its first sign of work; tells how long it ran."""
    process = start(*command)
    while begins not in (line := process.stdout.readline()):
        assert line, "it ended without a sign of work"
    begun = time.perf_counter()
    try:
        process.communicate(timeout=moment)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return time.perf_counter() - begun


def kill_again_and_again(command, begins, whole, put_in_place, check):
    """Kill a script at random moments of its work, then run it to its end.

    Args:
        begins: what it prints when it begins to work.
        whole: seconds that its work takes.
        put_in_place: makes what the script finds, before each kill.
        check: looks at what a kill has left, and says what it is.
    """
    rng = random.Random(SEED)
    for kill in range(KILLS):
        put_in_place()
        moment = rng.uniform(0, whole)
        seconds_of_work(command, begins, moment)
        left = check()
        code, output = run(*command)
        assert code == 0, output
        print(
            f"{command[0]}, kill {kill + 1} after {moment:.2f} of {whole:.2f} s: {left}; "
            "the second run completed"
        )


@pytest.mark.slow
def test_data_preparation_killed_leaves_the_old_files_or_the_new_ones(onet_dir, tmp_path):
    data = tmp_path / "data"
    command = ["data_preparation.py", "--onet-dir", onet_dir, "--output-dir", data, "--seed", 2]
    begins = "O*NET release"
    whole = seconds_of_work(command, begins)
    new = contents(data)
    assert run(*command[:-1], 1)[0] == 0
    old = contents(data)

    def put_in_place():
        for name, content in old.items():
            (data / name).write_bytes(content)

    def check():
        found = contents(data)
        if found in (old, new):
            return "the old files" if found == old else "the new files"
        with pytest.raises(InputError, match="run data_preparation.py again"):
            load_data(data)
        return "some of both, as noticed by train.py"  # killed between two renames

    kill_again_and_again(command, begins, whole, put_in_place, check)
    assert contents(data) == new
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_mixture_of_old_and_new_data_is_noticed(data_dir, tmp_path):
    shutil.copytree(data_dir, tmp_path, dirs_exist_ok=True)
    (tmp_path / "corpus.json").write_text("{}")
    with pytest.raises(
        InputError, match="corpus.json does not belong to .*: run data_preparation.py again"
    ):
        load_data(tmp_path)


@pytest.mark.slow
def test_inference_killed_leaves_no_output_or_a_whole_one(trained_dir, data_dir, tmp_path):
    output = tmp_path / "coded.csv"
    (tmp_path / "jobs.csv").write_text("title\n" + "".join(f"Wireman {i}\n" for i in range(10_000)))
    command, begins = ["inference.py", "--input", tmp_path / "jobs.csv", "--output", output,
                       "--model-dir", trained_dir, "--data-dir", data_dir], "coding"  # fmt: skip
    whole = seconds_of_work(command, begins)
    expected = output.read_bytes()

    def check():
        if output.exists():
            assert output.read_bytes() == expected
            output.unlink()
            return "the whole output"
        return f"no output, {len(list(tmp_path.glob('.*/*.csv')))} of 5 parts"

    kill_again_and_again(command, begins, whole, lambda: output.unlink(missing_ok=True), check)
    assert output.read_bytes() == expected
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_training_killed_leaves_the_old_model_and_goes_on_to_the_same_one(
    data_dir, tiny_encoder, trained_dir, tmp_path
):
    model = tmp_path / "model"
    command, begins = [
        "train.py", "--data-dir", data_dir, "--base-model", tiny_encoder, "--output-dir", model,
        "--run-dir", tmp_path / "run", "--batch-size", "4", "--epochs", "6", "--evaluations", "4",
    ], "validation before training"  # fmt: skip
    whole = seconds_of_work(command, begins)
    expected = load_file(model / "model.safetensors")

    def put_in_place():
        shutil.rmtree(model)
        shutil.copytree(trained_dir, model)

    def as_expected():
        found = load_file(model / "model.safetensors")
        return all(np.allclose(found[name], expected[name], atol=1e-3) for name in expected)

    def check():
        if contents(model) == contents(trained_dir):
            return f"the old model, {len(list(tmp_path.glob('run/checkpoint-*')))} checkpoints"
        assert as_expected()
        return "the new model"

    kill_again_and_again(command, begins, whole, put_in_place, check)
    assert as_expected()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


# --------------------------------------------------------------------------- no room, no permission


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1000, 200_000])
def test_scripts_say_in_one_line_where_there_is_no_room(
    onet_dir, data_dir, tiny_encoder, trained_dir, tmp_path, limit
):
    (tmp_path / "jobs.csv").write_text("title\n" + "Wireman\n" * 5000)
    old = tmp_path / "old"
    shutil.copytree(data_dir, old)
    commands = [
        ["data_preparation.py", "--onet-dir", onet_dir, "--output-dir", old],
        ["train.py", "--data-dir", data_dir, "--base-model", tiny_encoder,
         "--run-dir", tmp_path / "run", "--output-dir", tmp_path / "model",
         "--batch-size", "4", "--epochs", "1"],
        ["inference.py", "--input", tmp_path / "jobs.csv", "--output", tmp_path / "coded.csv",
         "--model-dir", trained_dir, "--data-dir", data_dir],
    ]  # fmt: skip
    for command in commands:  # no file may become larger: to the scripts as if the disk were full
        code, output = run(
            *command, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        )
        if (command[0], limit) == ("data_preparation.py", 200_000):  # its files are smaller
            assert code == 0, output
            continue
        assert code == 2, output
        (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
        assert str(tmp_path) in line
        assert "Traceback" not in output.partition(line)[0]
        assert not (tmp_path / "model").exists() and not (tmp_path / "coded.csv").exists()
    if limit == 1000:
        assert contents(old) == contents(data_dir)


def test_output_folder_that_may_not_be_written_is_named(onet_dir, tmp_path, capsys):
    (tmp_path / "file").write_text("")  # root may write everywhere, but not into a file as a folder
    assert (
        data_preparation.main(
            ["--onet-dir", str(onet_dir), "--output-dir", str(tmp_path / "file" / "out")]
        )
        == 2
    )
    assert f"'{tmp_path / 'file' / 'out'}'" in capsys.readouterr().err


def test_reader_that_has_read_enough_is_no_error(trained_dir, data_dir):
    command = (
        f"{sys.executable} inference.py Wireman --json --top-k 8 "
        f"--model-dir {trained_dir} --data-dir {data_dir}"
    )
    shell = f"set -o pipefail; {command} | true"
    result = subprocess.run(["bash", "-c", shell], cwd=PROJECT, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


# --------------------------------------------------------------------- damaged, or not of one model


@pytest.fixture
def model(trained_dir, tmp_path):
    return shutil.copytree(trained_dir, tmp_path / "model")


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name", [WEIGHTS, TOKENIZER_FILE, MANIFEST_FILE])
def test_half_a_file_is_named(model, tmp_path, name):
    half(model / name)
    with pytest.raises(ValueError, match=f"{name}.* is damaged"):
        JobClassifier(model, tmp_path / "no_data")


def test_damaged_weights_of_torch_are_named(model, tmp_path):
    half(model / WEIGHTS_OF["torch"])
    with pytest.raises(ValueError, match="model.safetensors is damaged"):
        JobClassifier(model, tmp_path / "no_data", backend="torch")


def test_code_in_a_model_folder_is_not_run(model, tmp_path):
    (model / "evil.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: load = staticmethod(open)\n"
    )
    modules = (model / "modules.json").read_text()
    kind = json.loads(modules)[0]["type"]
    (model / "modules.json").write_text(modules.replace(kind, "evil.Evil"))
    with pytest.raises((ValueError, ImportError), match="evil"):
        JobClassifier(model, tmp_path / "no_data", backend="torch")
    assert not (tmp_path / "ran").exists()


def test_tokenizer_of_another_model_is_refused(model, tmp_path):
    with open(model / TOKENIZER_FILE, "a") as file:
        file.write("\n")
    with pytest.raises(ValueError, match="damaged, or not of the model that was trained"):
        JobClassifier(model, tmp_path / "no_data")


@pytest.mark.parametrize(
    "damage", [half, lambda path: path.write_bytes(b""), lambda path: path.unlink()]
)
def test_damaged_index_is_made_anew(model, trained_dir, data_dir, tmp_path, damage):
    shutil.copytree(data_dir, tmp_path / "data")
    damage(model / INDEX_FILE)
    mended = JobClassifier(model, tmp_path / "data").predict("Wireman", top_k=8)
    assert mended == JobClassifier(trained_dir, data_dir).predict("Wireman", top_k=8)


def test_damaged_corpus_is_named(trained_dir, data_dir, tmp_path):
    shutil.copytree(data_dir, tmp_path, dirs_exist_ok=True)
    half(tmp_path / "corpus.json")
    with pytest.raises(ValueError, match="corpus.json is damaged"):
        JobClassifier(trained_dir, tmp_path)


def test_checkpoint_that_is_not_whole_is_passed_over(tmp_path):
    for step in (9, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(
            "{}" if step == 9 else '{"epo'
        )
    assert train.last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-9")


# ------------------------------------------------------------------------------ no network


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_inference_needs_no_network(trained_dir, data_dir, backend):
    code = f"""
import socket, sys
def refuse(*args, **kwargs):
    print("asked for the network", flush=True)
    raise OSError("no network")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
import inference
folders = ["--model-dir", "{trained_dir}", "--data-dir", "{data_dir}"]
sys.exit(inference.main(["Wireman", "--backend", "{backend}", *folders]))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "O*NET-SOC" in result.stdout and "asked" not in result.stdout


# ------------------------------------------------------------------------------ many at once

TITLES = [
    "Wireman",
    "RN",
    "CDL Driver",
    "Coffee Maker",
    "Pump Engineer",
    "Programmer",
    "Brand Manager",
    "Aircrew Officer",
]


def test_threads_get_the_answers_of_one(trained_dir, data_dir):
    classifier = JobClassifier(trained_dir, data_dir)
    expected = [classifier.predict(title, "Nights.", explain=True) for title in TITLES]
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(
            lambda title: classifier.predict(title, "Nights.", explain=True), TITLES * 50
        )
    assert list(found) == expected * 50


def test_processes_that_make_the_index_at_once_agree_and_leave_a_whole_one(
    trained_dir, data_dir, tmp_path
):
    (tmp_path / "corpus.json").write_text(
        (data_dir / "corpus.json").read_text().replace("Wireman", "Wire Puller")
    )
    command = [
        "inference.py",
        "Wire Puller",
        "--json",
        "--model-dir",
        trained_dir,
        "--data-dir",
        tmp_path,
    ]
    processes = [start(*command, stderr=subprocess.DEVNULL) for _ in range(4)]
    outputs = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 4
    (answer,) = outputs
    assert json.loads(answer) == JobClassifier(trained_dir, tmp_path).predict(
        "Wire Puller", top_k=3
    )
    assert {path.name for path in tmp_path.iterdir()} == {"corpus.json", INDEX_FILE}


@pytest.mark.slow
def test_memory_stays_flat():
    code = f"""
import random, resource
from inference import JobClassifier
classifier, rng = JobClassifier({str(PROJECT / MODEL_DIR)!r}, "no_data"), random.Random({SEED})
peaks = []
for n in range({SOAK}):
    if n in ({SOAK} // 5, {SOAK} - 1):
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    classifier.predict(
        " ".join(rng.choices(classifier.titles, k=rng.randint(1, 3))),
        "Nights. " * rng.randint(0, 20),
    )
print(*peaks)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    after_a_fifth, at_the_end = (int(peak) / 1024 for peak in result.stdout.split())
    print(
        f"peak memory: {after_a_fifth:.0f} MiB after {SOAK // 5:,} predictions, "
        f"{at_the_end:.0f} after {SOAK:,}"
    )
    assert at_the_end < 1.05 * after_a_fifth


# ------------------------------------------------------------------------------ determinism


@pytest.mark.slow
def test_training_twice_gives_the_same_model_and_metrics(data_dir, tiny_encoder, tmp_path):
    metrics, models = [], []
    for name in ("one", "two"):
        arguments = ["--data-dir", data_dir, "--base-model", tiny_encoder,
                     "--output-dir", tmp_path / name, "--run-dir", tmp_path / "run",
                     "--batch-size", "4", "--epochs", "1"]  # fmt: skip
        assert train.main([str(argument) for argument in arguments]) == 0
        metrics.append(json.loads((tmp_path / name / MANIFEST_FILE).read_text())["metrics"])
        models.append((tmp_path / name / "model.safetensors").read_bytes())
    assert metrics[0] == metrics[1]
    assert models[0] == models[1]
