"""The `parameters` cell of a notebook, and values for it."""

import math

import pytest

from medsr_lib.series.parameters import Parameter, parse, read


def test_the_cell_is_read_with_types_and_comments(series):
    found = series.add("01_a").parameters
    assert list(found) == ["data_dir", "out_dir", "scale", "rate", "limit"]
    assert found["scale"] == Parameter("scale", 4, "int", "2, 3, 4 or 8")
    assert found["limit"] == Parameter("limit", None, "int | None", "slices scored: None for all")
    assert str(found["rate"]) == "rate: float = 0.001  # learning rate"


def test_defaults_over_several_lines_and_without_a_comment():
    cell = (
        'regions = [\n    "tumour",  # first\n    "head",\n]\nshift = -0.5\nhash = "#no"\nx = None'
    )
    found = read(cell, where="x")
    assert found["regions"] == Parameter("regions", ["tumour", "head"], "list", "first")
    assert found["shift"].default == -0.5
    assert found["hash"] == Parameter("hash", "#no", "str", "")
    assert found["x"] == Parameter("x", None, "Any", "")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("a = 1\nb = a * 2", r"01_a.ipynb, parameters cell, line 2: 'b = a \* 2' is not"),
        ("import os", "line 1: 'import os'"),
        ("a = b = 1", "line 1: 'a = b = 1'"),
        ("a: int", "line 1: 'a: int'"),
        ("a = ", "01_a.ipynb: the parameters cell is not Python"),
    ],
)
def test_only_literals_are_parameters(cell, message):
    with pytest.raises(ValueError, match=message):
        read(cell, where="01_a.ipynb")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4", 4),
        ("-3", -3),
        ("010", 10),
        ("1e-3", 0.001),
        ("1.5E6", 1.5e6),
        (".5", 0.5),
        ("2.", 2.0),
        ("-.inf", -math.inf),
        ("true", True),
        ("False", False),
        ("null", None),
        ("None", None),
        ("'None'", "None"),
        ("kspace", "kspace"),
        ("off", "off"),
        ("no", "no"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("'4'", "4"),
        ("a=b", "a=b"),
        (r"C:\slices", r"C:\slices"),
        ("[1, 2e-1, on]", [1, 0.2, "on"]),
    ],
)
def test_values_are_yaml_without_its_traps(text, value):
    parsed = parse([f"x={text}"])["x"]
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["scale"], "'scale' is not name=value"),
        (["2x=1"], "'2x=1' is not name=value"),
        (["limit="], "limit has no value; write limit=null"),
        (["a=1", "a=2"], "a is given twice"),
        (["a=[1"], r"a: '\[1' cannot be read"),
        (["a=!!python/name:os.system"], "a: .* cannot be read"),
    ],
)
def test_what_is_not_an_assignment(assignments, message):
    with pytest.raises(ValueError, match=message):
        parse(assignments)


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        ("int", [1], [True, 1.0, "1", None]),
        ("float", [1, 0.5], [True, "1", None]),
        ("bool", [False], [0, "false"]),
        ("str", ["a"], [1, None]),
        ("int | None", [None, 3], [0.5]),
        ("list[float]", [[1, 0.5], []], [["a"], 1]),
        ("tuple", [[1, 2]], [3]),
        ("dict", [{"a": 1}], [[1]]),
        ("Any", [None, 1, "a", True], []),
    ],
)
def test_types(annotation, good, bad):
    parameter = Parameter("x", None, annotation, "")
    expected = [True] * len(good) + [False] * len(bad)
    assert [parameter.accepts(value) for value in good + bad] == expected


def test_an_annotation_nobody_can_check():
    with pytest.raises(ValueError, match=r"the annotation 'np\.ndarray' is not one"):
        Parameter("x", None, "np.ndarray", "").accepts(1)
