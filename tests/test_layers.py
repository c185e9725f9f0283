"""The layers that tell occupations by embeddings and by the letters of titles."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from common import fit_layers
from common.fit_layers import Fitted
from common.layers import BUCKETS, Layers, ngrams, save_layers
from common.no_occupation import REASONS

TITLES = ["Registered Nurse", "Staff Nurse", "Nurse", "Truck Driver", "Bus Driver", "Driver"]
CODES = ["29-1141.00", "53-3032.00"]


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    """Fitted to two occupations, nurses and drivers, and to one answer that is none."""
    texts = TITLES * 40 + ["retired"] * 40
    classes = [*CODES, *REASONS]
    columns = [0, 0, 0, 1, 1, 1] * 40 + [2] * 40
    targets = csr_matrix((np.ones(len(texts)), (np.arange(len(texts)), columns)),
                         (len(texts), len(classes)), dtype=np.float32)  # fmt: skip
    to = Fitted(texts, targets, np.ones(len(texts), dtype=np.float32))
    embeddings = np.eye(3, dtype=np.float32)[columns]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_layers, "BATCH", 20)
        tensors = fit_layers.fit_embedding_layer(embeddings, to, seed=0)
        tensors |= fit_layers.fit_ngram_layer(to, seed=0)
    path = tmp_path_factory.mktemp("layers") / "layers.safetensors"
    save_layers(tensors, classes, path)
    return path


def test_ngrams_do_not_depend_on_case_or_spacing():
    assert set(ngrams("ICU  nurse")) == set(ngrams("icu Nurse"))
    assert len(ngrams("")) == 1 and ngrams("Nurse").max() < BUCKETS


def test_a_misspelt_word_shares_ngrams_with_the_right_one():
    right, wrong, other = (set(ngrams(word)) for word in ("Accountant", "Acountant", "Plumber"))
    assert len(right & wrong) > 5 > len(right & other)


def test_the_layer_on_letters_knows_what_it_was_fitted_to_and_misspelt_words(layers):
    logits = Layers.load(layers, CODES).by_letters(["Night Nurse", "Nruse, Staff", "bus drivers"])
    assert logits[:, :2].argmax(axis=1).tolist() == [0, 0, 1]


def test_the_layer_on_embeddings_knows_what_it_was_fitted_to(layers):
    logits = Layers.load(layers, CODES).by_embedding(np.eye(3, dtype=np.float32))
    assert logits.argmax(axis=1).tolist() == [0, 1, 2]


def test_log_probabilities_are_of_the_occupations_alone(layers):
    loaded = Layers.load(layers, CODES)
    log_probabilities = loaded.log_probabilities(loaded.by_letters(["retired"]))
    assert np.exp(log_probabilities).sum(axis=1) == pytest.approx(1)


def test_both_layers_together_tell_what_is_no_occupation(layers):
    loaded = Layers.load(layers, CODES)
    embeddings = np.eye(3, dtype=np.float32)[[0, 2]]
    letters = loaded.by_letters(["Nurse", "retired"])
    (nurse, retired), (_, reason) = loaded.no_occupation(loaded.by_embedding(embeddings), letters)
    assert nurse < 0 < retired
    assert reason == next(iter(REASONS))


def test_occupations_of_another_release_are_found_by_their_codes(layers):
    known, unknown = "53-3032.00", "99-9999.00"
    loaded = Layers.load(layers, [known, unknown])
    logits = loaded.by_letters(["Truck Driver"])
    assert logits.shape == (1, 2 + len(REASONS))
    assert logits[0, 0] > 0 > logits[0, 1] + 50
