"""The snippets of `utils/vae/README.md` run as they stand there."""

import re
from pathlib import Path

from utils import vae
from utils.standins import make_standin

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.one_backend  # what it is made of is tested on others

README = Path(vae.__file__).with_name("README.md").read_text()
SETUP = re.search(r"```python setup\n(.*?)```", README, re.S)[1]
SNIPPETS = dict(re.findall(r"### ([^\n]+)\n\n```python\n(.*?)```", README, re.S))
MOST_LINES = 20


@pytest.fixture(scope="module")
def digits():
    return make_standin("mnist", {"train": 100}, seed=0)


@pytest.fixture(autouse=True, scope="module")
def uncompiled():
    """Each trains a step or two: to trace them takes longer."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def test_the_table_leads_to_every_snippet():
    rows = re.findall(r"^\| \[([^\]]+)\]\(#([^)]+)\)", README, re.M)
    kept = re.compile(r"[^\w\- ]")
    anchors = {kept.sub("", title.lower()).replace(" ", "-") for title in SNIPPETS}
    assert {anchor for _, anchor in rows} == anchors
    assert len(rows) == len(SNIPPETS) == README.count("```python\n")


@pytest.mark.filterwarnings("ignore:num_samples is 100")
@pytest.mark.parametrize("title", SNIPPETS)
def test_it_runs_and_is_short(title, digits, tmp_path):
    code = SNIPPETS[title]
    assert len(code.strip().splitlines()) <= MOST_LINES
    if "tensorflow" in code:
        pytest.importorskip("tensorflow")
    images, labels = digits.train_images, digits.train_labels
    names = {"images": images, "labels": labels.astype("int64")}
    exec(compile(SETUP + code, title, "exec"), names)
    model = names["model"]
    assert model.optimizer.iterations > 0
    if "class " in code and "register" not in code:
        return  # it cannot be loaded
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    condition = None if model.condition_shape is None else np.eye(10)[3]
    settings = {"condition": condition, "seed": 3}
    first, second = (m.sample(2, **settings) for m in (model, loaded))
    np.testing.assert_allclose(first, second, rtol=1e-5)
