"""Small workbooks and a tiny encoder, all made on the spot: no network, no text of O*NET's."""

import random
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import BertConfig, BertModel, BertTokenizerFast

import data_preparation
from inference import MODEL_DIR, JobClassifier

PROJECT = Path(__file__).resolve().parent.parent

# code: (title, description, alternate titles, duties, skill, knowledge, ability, software, tool)
OCCUPATIONS = {
    "11-2021.00": ("Marketing Managers", "Plan how a firm makes its products known and wanted.",
                   ["Brand Manager", "Campaign Lead", "Marketing Director"],
                   ["Set the yearly budget for advertising.",
                    "Compare what each channel brought in."],
                   "Negotiation", "Sales and Marketing", "Originality",
                   "Google Analytics", "Projectors"),
    "15-1252.00": ("Software Developers", "Write and test programs that people and machines use.",
                   ["Programmer", "Backend Developer", "Application Developer", "Team Lead"],
                   ["Write code and tests for a new feature.",
                    "Find out why a program fails and mend it."],
                   "Programming", "Engineering and Technology", "Visualization",
                   "Python", "Laptop computers"),
    "17-2141.00": ("Mechanical Engineers", "Design machines and see them built and tested.",
                   ["Machine Designer", "Design Engineer", "Pump Engineer"],
                   ["Calculate the loads on a shaft.", "Choose the material of a housing."],
                   "Technology Design", "Mechanical", "Visualization", "SolidWorks", "Calipers"),
    "29-1141.00": ("Registered Nurses", "Care for patients and carry out what physicians order.",
                   ["Staff Nurse", "Ward Nurse", "RN", "Team Lead"],
                   ["Give medicines and watch their effect.",
                    "Dress wounds and note how they heal."],
                   "Service Orientation", "Medicine and Dentistry", "Stamina",
                   "Epic", "Blood pressure cuffs"),
    "35-3023.01": ("Baristas", "Prepare and serve coffee drinks.",
                   ["Coffee Maker", "Espresso Server", "Cafe Worker"],
                   ["Grind beans and draw espresso.", "Steam milk and pour it into cups."],
                   "Service Orientation", "Food Production", "Stamina",
                   "Square", "Espresso machines"),
    "47-2111.00": ("Electricians", "Install and repair wiring and electrical fixtures.",
                   ["Wireman", "Electrical Fitter", "Journeyman Electrician"],
                   ["Pull cable through conduit.", "Test circuits before they go live."],
                   "Repairing", "Building and Construction", "Manual Dexterity",
                   "AutoCAD", "Multimeters"),
    "53-3032.00": ("Heavy and Tractor-Trailer Truck Drivers",
                   "Drive large trucks over long distances.",
                   ["Truck Driver", "CDL Driver", "Freight Hauler"],
                   ["Check the brakes before each trip.", "Secure the load with straps."],
                   "Operation and Control", "Transportation", "Far Vision",
                   "Qualcomm", "Tie-down straps"),
    "55-1011.00": ("Air Crew Officers", "Perform and direct in-flight duties of a military crew.",
                   ["Aircrew Officer", "Weapons Officer"], [], None, None, None, None, None),
}  # fmt: skip
SKILLS = ["Active Listening", *dict.fromkeys(o[4] for o in OCCUPATIONS.values() if o[4])]
KNOWLEDGE = ["English Language", *dict.fromkeys(o[5] for o in OCCUPATIONS.values() if o[5])]
ABILITIES = ["Oral Comprehension", *dict.fromkeys(o[6] for o in OCCUPATIONS.values() if o[6])]


def onet_tables() -> dict[str, pd.DataFrame]:
    """The eight workbooks as tables, in the classic layout (releases up to 30.2)."""
    code = "O*NET-SOC Code"

    def ratings(elements: list[str], column: int) -> pd.DataFrame:
        rows, rng = [], random.Random(0)
        for occupation, facts in OCCUPATIONS.items():
            if facts[column] is None:
                continue
            for element in elements:
                value = 4.5 if element == facts[column] else round(rng.uniform(2.4, 3.6), 2)
                rows.append((occupation, element, "IM", value, "N", None))
                rows.append((occupation, element, "LV", value + 1, "N", "N"))
        return pd.DataFrame(
            rows,
            columns=[
                code,
                "Element Name",
                "Scale ID",
                "Data Value",
                "Recommend Suppress",
                "Not Relevant",
            ],
        )

    facts = OCCUPATIONS.items()
    return {
        "Occupation Data": pd.DataFrame(
            [(c, o[0], o[1]) for c, o in facts], columns=[code, "Title", "Description"]
        ),
        "Alternate Titles": pd.DataFrame(
            [(c, t) for c, o in facts for t in o[2]], columns=[code, "Alternate Title"]
        ),
        "Task Statements": pd.DataFrame(
            [(c, t) for c, o in facts for t in o[3]], columns=[code, "Task"]
        ),
        "Skills": ratings(SKILLS, 4),
        "Knowledge": ratings(KNOWLEDGE, 5),
        "Abilities": ratings(ABILITIES, 6),
        "Technology Skills": pd.DataFrame(
            [(c, o[7], "Some software", "Y") for c, o in facts if o[7]],
            columns=[code, "Example", "Commodity Title", "Hot Technology"],
        ),
        "Tools Used": pd.DataFrame(
            [(c, o[8], o[8]) for c, o in facts if o[8]],
            columns=[code, "Example", "Commodity Title"],
        ),
    }


def write_workbooks(tables: dict[str, pd.DataFrame], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_excel(folder / f"{name}.xlsx", index=False, sheet_name=name)
    (folder / "Read Me.txt").write_text("O*NET 30.1 Database\nDecember 2025 Release\n")
    return folder


@pytest.fixture(scope="session")
def onet_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the eight small workbooks."""
    return write_workbooks(onet_tables(), tmp_path_factory.mktemp("onet"))


@pytest.fixture(scope="session")
def data_dir(onet_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that data_preparation.py wrote from them."""
    folder = tmp_path_factory.mktemp("processed_data")
    assert data_preparation.main(["--onet-dir", str(onet_dir), "--output-dir", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a two-layer BERT of random weights over single letters, made in no time."""
    folder = tmp_path_factory.mktemp("tiny_encoder")
    letters = [chr(c) for c in range(ord("!"), ord("~") + 1) if not chr(c).isupper()]
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *(f"##{letter}" for letter in letters),
    ]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    transformer = Transformer(str(folder))
    pooling = Pooling(transformer.get_embedding_dimension())
    SentenceTransformer(modules=[transformer, pooling, Normalize()]).save_pretrained(
        str(folder / "model")
    )
    return folder / "model"


@pytest.fixture(scope="session")
def trained_dir(
    data_dir: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Model folder that `python train.py` saved, run whole at tiny size."""
    folder = tmp_path_factory.mktemp("output")
    (folder / "own.csv").write_text("title,code\nSparkle Ranger,35-3023.01\n")
    command = [
        sys.executable, "train.py", "--data-dir", data_dir, "--base-model", tiny_encoder,
        "--output-dir", folder / "model", "--run-dir", folder / "run",
        "--batch-size", "4", "--epochs", "4", "--learning-rate", "0.003", "--evaluations", "2",
        "--own-titles", folder / "own.csv",
    ]  # fmt: skip
    result = subprocess.run(
        [str(part) for part in command], cwd=PROJECT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    JobClassifier(folder / "model", data_dir)  # the first use makes the index
    return folder / "model"


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> JobClassifier:
    """The classifier with the model that the project ships, where there are no O*NET data."""
    return JobClassifier(PROJECT / MODEL_DIR, tmp_path_factory.mktemp("no_data"))
