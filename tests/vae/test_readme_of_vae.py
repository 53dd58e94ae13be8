"""The snippets of `utils/vae/README.md` run as they stand there."""

import re
from pathlib import Path

from utils import vae
from utils.standins import make_standin

import keras
import numpy as np
import pytest
from scipy import stats

# What they are made of is tested on other backends; to trace each takes longer.
pytestmark = [pytest.mark.one_backend, pytest.mark.usefixtures("uncompiled")]

README = Path(vae.__file__).with_name("README.md").read_text()
SETUP = re.search(r"```python setup\n(.*?)```", README, re.S)[1]
SNIPPETS = dict(re.findall(r"### ([^\n]+)\n\n```python\n(.*?)```", README, re.S))
MOST_LINES = 20


@pytest.fixture(scope="module")
def digits():
    return make_standin("mnist", {"train": 40}, seed=0)


def test_the_table_leads_to_every_snippet():
    rows = re.findall(r"^\| \[([^\]]+)\]\(#([^)]+)\)", README, re.M)
    kept = re.compile(r"[^\w\- ]")
    anchors = {kept.sub("", title.lower()).replace(" ", "-") for title in SNIPPETS}
    assert {anchor for _, anchor in rows} == anchors
    assert len(rows) == len(SNIPPETS) == README.count("```python\n")


def test_its_own_laws_are_what_they_say(digits):
    names = {"images": digits.train_images}
    for title in ("A prior of your own", "A posterior of your own"):
        exec(compile(SETUP + SNIPPETS[title].split("\n\n\n")[0], title, "exec"), names)
    prior = names["LaplacePrior"]()
    prior.join(2, None, None)
    z = np.array(prior.sample(20_000, 5))
    assert stats.kstest(z[:, 0], "laplace").pvalue > 1e-3
    assert abs(np.corrcoef(z.T)[0, 1]) < 5 / len(z) ** 0.5
    found = np.array(prior.log_prob(z[:9]))
    np.testing.assert_allclose(
        found, stats.laplace.logpdf(z[:9]).sum(axis=1), rtol=1e-4
    )
    noise = np.random.default_rng(0).normal(size=(20_000, 1, 2)).astype("float32")
    parameters = [np.float32([[1.0, -2.0]]), np.float32([[0.5, -0.5]])]
    z, log_prob = map(np.array, names["LaplacePosterior"]().draw(parameters, noise))
    law = stats.laplace([1.0, -2.0], np.exp([0.5, -0.5]))
    expected = law.logpdf(z[:, 0]).sum(axis=1)
    np.testing.assert_allclose(log_prob[:, 0], expected, rtol=1e-3, atol=1e-3)
    for axis in (0, 1):
        assert stats.kstest(law.cdf(z[:, 0])[:, axis], "uniform").pvalue > 1e-3


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
