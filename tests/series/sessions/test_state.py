"""What a session leaves is read, compared and kept inside its folder."""

import chains
import pytest

from medsr_lib.series.sessions import state as states


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not the state of a chain"),
        ("[]", "not the state of a chain"),
        ('{"format": "medsr chain 0"}', "expected the format 'medsr chain 1'"),
        ('{"format": "medsr chain 1", "step": 3}', "missing 5 required"),
    ],
)
def test_a_damaged_state_is_refused(tmp_path, text, message):
    (tmp_path / states.NAME).write_text(text)
    with pytest.raises(ValueError, match=message):
        states.read(tmp_path)


def test_weights_have_a_fingerprint(tmp_path):
    found = []
    for name, steps in {"a": 40, "b": 40, "c": 41}.items():
        chains.train(tmp_path / name, each=steps)
        found.append(states.describe(tmp_path / name).fingerprint)
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\\..\\x", "C:x", "", "a//b", "."])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="it was refused"):
        states.inside(tmp_path, name)
