"""data_preparation.py on small workbooks of our own, and on the real release where there is one."""

import http.server
import io
import json
import shutil
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from conftest import OCCUPATIONS, PROJECT, onet_tables, write_workbooks

import data_preparation
from common import onet, samples
from common.files import sha256
from common.text import cut_at_word, normalize, title_forms
from common.written import read_duties, read_short_duties, read_titles

REAL_RELEASE = PROJECT.parent / "shared" / "onet"
CODE = "O*NET-SOC Code"


def prepare(onet_dir: Path, output_dir: Path) -> int:
    return data_preparation.main(["--onet-dir", str(onet_dir), "--output-dir", str(output_dir)])


def read(folder: Path, name: str):
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


# ------------------------------------------------------------------------------ samples


def test_script_runs_whole_and_prints_counts_by_source(onet_dir, tmp_path):
    command = [
        sys.executable,
        "data_preparation.py",
        "--onet-dir",
        onet_dir,
        "--output-dir",
        tmp_path,
    ]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for line in (
        "O*NET release 30.1",
        "standard_title",
        "alternate_title",
        "technology",
        "8 occupations",
    ):
        assert line in result.stdout


def test_every_source_is_there_with_its_own_form(data_dir):
    anchors = {(s["source"], s["anchor"]) for s in read(data_dir, "train") + read(data_dir, "val")}
    assert ("standard_title", "Baristas") in anchors
    assert ("alternate_title", "Coffee Maker") in anchors
    assert ("title_description", "Baristas. Prepare and serve coffee drinks.") in anchors
    assert ("task", "Grind beans and draw espresso.") in anchors
    assert ("technology", "Software Developers uses technology: Python") in anchors
    assert ("tool", "Electricians uses tool: Multimeters") in anchors
    for source, prefix in (
        ("skill", "Skills: "),
        ("knowledge", "Knowledge: "),
        ("ability", "Abilities: "),
    ):
        assert any(anchor.startswith(prefix) for s, anchor in anchors if s == source)


def test_no_sample_twice(data_dir):
    counts = Counter(
        (s["anchor"], s["code"]) for s in read(data_dir, "train") + read(data_dir, "val")
    )
    assert max(counts.values()) == 1


def test_elements_are_grouped_and_never_generic(data_dir):
    groups = [
        s["anchor"]
        for s in read(data_dir, "train") + read(data_dir, "val")
        if s["source"] in ("skill", "knowledge", "ability")
    ]
    assert all("," in group for group in groups)
    assert not any(
        generic in group
        for group in groups
        for generic in ("Active Listening", "English Language", "Oral Comprehension")
    )


@pytest.mark.parametrize(
    ("scale", "column", "flag"),
    [("IM", "Recommend Suppress", "Y"), ("LV", "Not Relevant", "Y")],
    ids=["suppressed", "not relevant"],
)
def test_ratings_flagged_as_unreliable_are_left_out(tmp_path, scale, column, flag):
    tables = onet_tables()
    skills = tables["Skills"]
    rows = (
        (skills[CODE] == "15-1252.00")
        & (skills["Element Name"] == "Programming")
        & (skills["Scale ID"] == scale)
    )
    skills.loc[rows, column] = flag
    assert prepare(write_workbooks(tables, tmp_path / "onet"), tmp_path / "out") == 0
    samples = read(tmp_path / "out", "train") + read(tmp_path / "out", "val")
    assert not any(
        s["code"] == "15-1252.00" and s["source"] == "skill" and "Programming" in s["anchor"]
        for s in samples
    )


def test_short_tasks_are_left_out(tmp_path):
    tables = onet_tables()
    tables["Task Statements"].loc[len(tables["Task Statements"])] = [
        "35-3023.01",
        "Exactly twenty chars",
    ]
    assert prepare(write_workbooks(tables, tmp_path / "onet"), tmp_path / "out") == 0
    assert (
        "Exactly twenty chars"
        not in (tmp_path / "out" / "train.json").read_text()
        + (tmp_path / "out" / "val.json").read_text()
    )


def test_text_that_looks_like_a_missing_value_is_kept(tmp_path):
    tables = onet_tables()
    tables["Alternate Titles"].loc[len(tables["Alternate Titles"])] = ["29-1141.00", "NA"]
    assert prepare(write_workbooks(tables, tmp_path / "onet"), tmp_path / "out") == 0
    assert "NA" in {
        s["anchor"] for s in read(tmp_path / "out", "train") + read(tmp_path / "out", "val")
    }


# ------------------------------------------------------------------------------ corpus


def test_corpus_has_every_label_mode_the_known_titles_and_the_tasks_by_ascending_code(data_dir):
    corpus = read(data_dir, "corpus")
    assert list(corpus) == sorted(OCCUPATIONS)
    onet, written = corpus["35-3023.01"]["titles"][:4], corpus["35-3023.01"]["titles"][4:]
    assert onet == ["Baristas", "Coffee Maker", "Espresso Server", "Cafe Worker"]
    assert set(written) <= {title for title, code in read_titles() if code == "35-3023.01"}
    assert len(written) > 10
    assert corpus["35-3023.01"] == {
        "title": "Baristas",
        "description": "Prepare and serve coffee drinks.",
        "title_desc": "Baristas. Prepare and serve coffee drinks.",
        "full_text": "Baristas. Prepare and serve coffee drinks.",
        "titles": [*onet, *written],
        "tasks": [
            "Grind beans and draw espresso.",
            "Steam milk and pour it into cups.",
            *(text for text, code in read_duties() + read_short_duties() if code == "35-3023.01"),
        ],
    }
    assert read(data_dir, "label_map") == {code: i for i, code in enumerate(corpus)}


@pytest.mark.parametrize(
    ("title", "forms"),
    [
        ("User Experience Designer (UX Designer)", ["User Experience Designer", "UX Designer"]),
        ("Designer", []),
        ("(UX Designer)", []),
        ("Nurse (RN) Manager", []),
    ],
)
def test_a_title_and_its_short_form_in_brackets_are_both_known(title, forms):
    assert title_forms(title) == forms


def test_title_desc_is_cut_at_a_word():
    text = "word " * 39 + "seven77 more"  # "seven77" ends at character 202
    assert cut_at_word(text, 200) == ("word " * 39).strip()
    assert cut_at_word("word " * 39 + "fives more", 200) == "word " * 39 + "fives"
    assert cut_at_word("short", 200) == "short"


# ------------------------------------------------------------------------------ split


def test_no_anchor_on_both_sides(data_dir):
    train, val = (
        {normalize(s["anchor"]) for s in read(data_dir, side)} for side in ("train", "val")
    )
    assert not train & val


def test_an_ambiguous_title_keeps_all_its_occupations(data_dir):
    sides = [
        [s["code"] for s in read(data_dir, side) if s["anchor"] == "Team Lead"]
        for side in ("train", "val")
    ]
    assert sorted(map(len, sides)) == [0, 2]


def test_texts_that_differ_only_in_case_and_spacing_stay_together():
    samples = [
        {"anchor": a, "code": c, "source": "x"}
        for a, c in [("Team  lead", "A"), ("team Lead", "B")]
    ]
    samples += [{"anchor": f"{c}{i}", "code": c, "source": "x"} for c in "AB" for i in range(20)]
    for seed in range(20):
        train, _ = data_preparation.split(samples, seed)
        assert sum(normalize(s["anchor"]) == "team lead" for s in train) in (0, 2)


def test_every_occupation_is_on_both_sides(data_dir):
    for side in ("train", "val"):
        assert {s["code"] for s in read(data_dir, side)} == set(OCCUPATIONS)


def test_split_takes_a_tenth_of_each_occupation():
    samples = [
        {"anchor": f"{c}{i}", "code": c, "source": "x"}
        for c, n in (("A", 100), ("B", 40), ("C", 2))
        for i in range(n)
    ]
    _, val = data_preparation.split(samples, seed=0)
    assert Counter(s["code"] for s in val) == {"A": 10, "B": 4, "C": 1}


def test_the_same_bytes_on_every_run(onet_dir, data_dir, tmp_path):
    assert prepare(onet_dir, tmp_path) == 0
    for name in ("train", "val", "corpus", "label_map", "manifest"):
        assert (tmp_path / f"{name}.json").read_bytes() == (data_dir / f"{name}.json").read_bytes()


@pytest.mark.slow
def test_openpyxl_reads_the_same_where_calamine_is_absent(
    onet_dir, data_dir, tmp_path, monkeypatch
):
    monkeypatch.setattr(onet.importlib.util, "find_spec", lambda name: None)
    assert prepare(onet_dir, tmp_path) == 0
    assert (tmp_path / "train.json").read_bytes() == (data_dir / "train.json").read_bytes()


# --------------------------------------------------------------------------- releases and bad input


def test_manifest_names_release_inputs_and_counts(onet_dir, data_dir):
    manifest = read(data_dir, "manifest")
    assert (manifest["release"], manifest["seed"]) == ("30.1", data_preparation.SEED)
    assert len([name for name in manifest["inputs"] if name.endswith(".xlsx")]) == 8
    assert set(manifest["inputs"]) >= {"titles.tsv", "duties.tsv"}  # our own text
    assert manifest["inputs"]["Skills.xlsx"] == sha256(onet_dir / "Skills.xlsx")
    assert sum(manifest["samples"]["val"].values()) == len(read(data_dir, "val"))


@pytest.fixture
def workbooks_alone(onet_dir, tmp_path):
    """Folder with the eight workbooks, without what names their release."""
    return shutil.copytree(onet_dir, tmp_path / "onet", ignore=shutil.ignore_patterns(onet.README))


def test_unknown_release_asks_for_what_names_it(workbooks_alone, tmp_path, capsys):
    assert prepare(workbooks_alone, tmp_path / "out") == 0
    assert f"unknown, workbooks in {workbooks_alone}: put O*NET's 'Read Me.txt' beside them" in (
        capsys.readouterr().out
    )
    assert read(tmp_path / "out", "manifest")["release"] == "unknown"


def test_known_release_is_recognised_by_its_rows(workbooks_alone, tmp_path, monkeypatch):
    tables = onet.read_tables(workbooks_alone, onet.find_workbooks(workbooks_alone))
    monkeypatch.setattr(onet, "KNOWN_ROWS", {onet.fingerprint(tables): "29.9"})
    assert prepare(workbooks_alone, tmp_path / "out") == 0
    assert read(tmp_path / "out", "manifest")["release"] == "29.9"


def test_one_changed_cell_makes_another_fingerprint():
    tables = onet_tables()
    before = onet.fingerprint(tables)
    tables["Task Statements"].loc[0, "Task"] += "!"
    assert onet.fingerprint(tables) != before


def renamed_layout() -> dict[str, pd.DataFrame]:
    """The tables as releases 30.3 and later publish them."""
    tables = onet_tables()
    del tables["Tools Used"]
    tables["Job Titles"] = tables.pop("Alternate Titles").rename(
        columns={"Alternate Title": "Job Title"}
    )
    skills = tables.pop("Skills")
    essential = skills["Element Name"] == "Active Listening"
    tables["Essential Skills"], tables["Transferable Skills"] = (
        skills[essential],
        skills[~essential],
    )
    tables["Software Skills"] = tables.pop("Technology Skills").rename(
        columns={"Example": "Workplace Example", "Commodity Title": "Element Name"}
    )
    return tables


def test_renamed_layout_gives_the_same_samples_but_tools(data_dir, tmp_path, capsys):
    assert prepare(write_workbooks(renamed_layout(), tmp_path / "onet"), tmp_path / "out") == 0
    assert "Tools Used.xlsx is absent" in capsys.readouterr().out

    def pairs(folder: Path) -> set[tuple[str, str]]:
        return {
            (s["anchor"], s["code"])
            for s in read(folder, "train") + read(folder, "val")
            if s["source"] != "tool"
        }

    assert pairs(tmp_path / "out") == pairs(data_dir)


def test_missing_workbooks_are_all_named(tmp_path, capsys):
    tables = onet_tables()
    del tables["Skills"], tables["Tools Used"]
    assert prepare(write_workbooks(tables, tmp_path / "onet"), tmp_path / "out") == 2
    error = capsys.readouterr().err
    for part in (
        "Skills.xlsx or Essential Skills.xlsx",
        "Tools Used.xlsx",
        "onetcenter.org",
        "--download",
    ):
        assert part in error
    assert not (tmp_path / "out").exists()


def test_a_failed_run_leaves_the_earlier_output_alone(onet_dir, tmp_path, monkeypatch):
    assert prepare(onet_dir, tmp_path) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(
        samples, "one_a_line", lambda _: (_ for _ in ()).throw(OSError("disk full"))
    )
    assert prepare(onet_dir, tmp_path) == 2
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# ------------------------------------------------------------------------------ download


@pytest.fixture
def server(monkeypatch):
    """An HTTP server in place of O*NET's; yields {path: (status, body, length sent)}."""
    answers = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, body, length = answers.get(self.path, (404, b"", 0))
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            if status == 302:
                self.send_header("Location", body.decode())
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        monkeypatch.setattr(
            onet, "DOWNLOAD_URL", f"http://127.0.0.1:{httpd.server_port}/db_{{release}}_excel.zip"
        )
        yield answers
        httpd.shutdown()


def release_zip(folder: Path, extra: dict[str, bytes] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.iterdir():
            archive.write(path, f"db_30_1_excel/{path.name}")
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return buffer.getvalue()


def download(onet_dir: Path, output_dir: Path, *release: str) -> int:
    return data_preparation.main(
        ["--download", *release, "--onet-dir", str(onet_dir), "--output-dir", str(output_dir)]
    )


def test_download_fetches_the_default_release(server, onet_dir, data_dir, tmp_path):
    body = release_zip(
        onet_dir,
        {"db_30_1_excel/Work Values.xlsx": b"not needed", "../../escape/Skills.docx": b"evil"},
    )
    server["/db_30_1_excel.zip"] = (200, body, len(body))
    assert download(tmp_path / "onet", tmp_path / "out") == 0
    assert read(tmp_path / "out", "train") == read(data_dir, "train")
    assert {path.name for path in (tmp_path / "onet").iterdir()} == {
        path.name for path in onet_dir.iterdir()
    }
    assert {path.name for path in tmp_path.iterdir()} == {"onet", "out"}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((404, b"", 0), "the server answered 404"),
        ((200, b"<html>moved</html>", 18), "not a zip file"),
        ((200, b"PK", 1000), "broke off after 2 of 1,000 bytes"),
    ],
    ids=["no such release", "not a zip", "broken off"],
)
def test_failed_download_says_why_and_leaves_nothing(server, tmp_path, capsys, answer, message):
    server["/db_29_0_excel.zip"] = answer
    assert download(tmp_path / "onet", tmp_path / "out", "29.0") == 2
    assert message in capsys.readouterr().err
    assert not list((tmp_path / "onet").iterdir())


def test_download_of_some_other_zip_is_refused(server, tmp_path, capsys):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("holiday.txt", "photos")
    server["/db_30_1_excel.zip"] = (200, buffer.getvalue(), len(buffer.getvalue()))
    assert download(tmp_path / "onet", tmp_path / "out") == 2
    assert "not an O*NET Excel release" in capsys.readouterr().err


def test_download_does_not_mix_releases(server, tmp_path, capsys):
    body = release_zip(write_workbooks(renamed_layout(), tmp_path / "new"))
    server["/db_31_0_excel.zip"] = (200, body, len(body))
    older = write_workbooks(onet_tables(), tmp_path / "older")
    before = {path.name: path.read_bytes() for path in older.iterdir()}
    assert download(older, tmp_path / "out", "31.0") == 2
    assert "Alternate Titles.xlsx, Skills.xlsx" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in older.iterdir()} == before


def test_download_that_leads_elsewhere_is_refused(server, tmp_path, capsys):
    server["/db_30_1_excel.zip"] = (302, b"http://localhost:1/db_30_1_excel.zip", 36)
    assert download(tmp_path / "onet", tmp_path / "out") == 2
    assert "leads to http://localhost:1/" in capsys.readouterr().err
    assert not list((tmp_path / "onet").iterdir())


@pytest.mark.parametrize("limit", [1000, 100_000])
def test_download_larger_than_any_release_is_refused(
    server, onet_dir, tmp_path, monkeypatch, capsys, limit
):
    body = release_zip(onet_dir, {"zeros": bytes(1_000_000)})
    server["/db_30_1_excel.zip"] = (200, body, len(body))
    assert 1000 < len(body) < 100_000
    monkeypatch.setattr(onet, "MAX_BYTES", limit)
    assert download(tmp_path / "onet", tmp_path / "out") == 2
    assert f"over {limit:,} bytes{'' if limit == 1000 else ' unpacked'}" in capsys.readouterr().err
    assert not list((tmp_path / "onet").iterdir())


def test_download_is_by_https_from_onet():
    assert onet.DOWNLOAD_URL.startswith("https://www.onetcenter.org/")


def test_download_checks_the_release_number(tmp_path, capsys):
    assert download(tmp_path / "onet", tmp_path / "out", "latest") == 2
    assert "a release looks like 30.1" in capsys.readouterr().err


# ------------------------------------------------------------------------------ our own text


def test_own_text_is_added_to_both_sides_but_for_onet_only(onet_dir, data_dir, tmp_path):
    arguments = ["--onet-dir", str(onet_dir), "--output-dir", str(tmp_path), "--onet-only"]
    assert data_preparation.main(arguments) == 0
    for side in ("train", "val"):
        written = [s for s in read(data_dir, side) if s["source"].startswith("written")]
        assert {s["source"] for s in written} == {"written_title", "written_duties"}
        assert [s for s in read(data_dir, side) if s not in written] == read(tmp_path, side)
    alone, both = read(tmp_path, "corpus"), read(data_dir, "corpus")
    for code, texts in alone.items():
        forms = [normalize(title) for title in both[code]["titles"]]
        assert len(forms) == len(set(forms))  # a title that differs in case alone would count twice
        assert both[code] == texts | {kind: both[code][kind] for kind in ("titles", "tasks")}
        for kind in ("titles", "tasks"):
            assert both[code][kind][: len(texts[kind])] == texts[kind]


# ------------------------------------------------------------------------------ the real release


@pytest.mark.slow
@pytest.mark.skipif(not REAL_RELEASE.is_dir(), reason="the real O*NET release is not at hand")
def test_real_release_has_the_documented_counts(tmp_path):
    folders = ["--onet-dir", str(REAL_RELEASE), "--output-dir", str(tmp_path)]
    assert data_preparation.main([*folders, "--onet-only"]) == 0
    train, val, corpus = (read(tmp_path, name) for name in ("train", "val", "corpus"))
    counts = Counter(s["source"] for s in train + val)
    assert len(corpus) == 1016
    assert 120_000 <= len(train) + len(val) <= 130_000
    assert counts["standard_title"] == counts["title_description"] == 1016
    assert counts["alternate_title"] == pytest.approx(56_500, rel=0.01)
    assert counts["task"] == pytest.approx(18_700, rel=0.01)
    assert counts["skill"] == pytest.approx(15_000, rel=0.05)
    assert counts["knowledge"] == pytest.approx(8_000, rel=0.05)
    assert counts["technology"] == pytest.approx(12_900, rel=0.01)
    assert counts["tool"] == pytest.approx(10_000, rel=0.05)
    assert len(val) / (len(train) + len(val)) == pytest.approx(0.1, abs=0.005)
    assert {s["code"] for s in val} == {s["code"] for s in train} == set(corpus)
    assert not {normalize(s["anchor"]) for s in train} & {normalize(s["anchor"]) for s in val}
    assert read(tmp_path, "manifest")["release"] == "30.1"


@pytest.mark.slow
@pytest.mark.skipif(not REAL_RELEASE.is_dir(), reason="the real O*NET release is not at hand")
def test_real_release_is_recognised_without_its_read_me(tmp_path):
    tables = onet.read_tables(REAL_RELEASE, onet.find_workbooks(REAL_RELEASE))
    assert onet.release_of(tmp_path, tables) == "30.1"
