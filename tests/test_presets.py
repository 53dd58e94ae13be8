from utils.presets import Preset, get_preset

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("value", "chosen"),
    [("smoke", 1), ("default", 2), ("full", 3), ("", 2), (None, 2)],
)
def test_the_environment_chooses_the_value_of_a_knob(monkeypatch, value, chosen):
    if value is None:
        monkeypatch.delenv("VI_PRESET", raising=False)
    else:
        monkeypatch.setenv("VI_PRESET", value)
    assert get_preset()(smoke=1, default=2, full=3) == chosen


def test_another_value_is_refused_with_the_valid_ones(monkeypatch):
    monkeypatch.setenv("VI_PRESET", "fast")
    with pytest.raises(
        ValueError, match=r"the preset \(VI_PRESET\) is 'fast'.*smoke, default, full"
    ):
        get_preset()


@pytest.mark.parametrize("name", [None, 1, ["smoke"], np.array(["smoke", "full"])])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(ValueError, match="name of the preset"):
        Preset(name)


def test_a_knob_states_all_three_values():
    with pytest.raises(TypeError):
        Preset("smoke")(smoke=1, default=2)
