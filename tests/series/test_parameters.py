"""The `parameters` cell of a notebook, and values for it."""

import math
import re

import pytest

from medsr_lib.series.parameters import Parameter, check, dump, load, parse, read


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
        ("Infinity", math.inf),
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
        ("{layout: beside, lesion_labels: [1, 4]}", {"layout": "beside", "lesion_labels": [1, 4]}),
        ("runs/a #2/03_srgan", "runs/a #2/03_srgan"),
        ("./net: v2.pt", "./net: v2.pt"),
        ("*.png", "*.png"),
        ("!!python/name:os.system", "!!python/name:os.system"),
    ],
)
def test_text_is_taken_as_it_stands_and_values_are_yaml_without_its_traps(text, value):
    parsed = parse([f"x={text}"])["x"]
    assert parsed == value
    assert type(parsed) is type(value)


def test_the_home_folder_is_expanded_in_text_and_not_in_quotes(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "/home/me")
    assert [load(text) for text in ("~/a", "~", "a/~", '"~/a"')] == [
        *("/home/me/a", "/home/me", "a/~", "~/a")
    ]


@pytest.mark.parametrize(
    "value",
    [
        *("~/x", "null", "3", "", " a #b ", "[", "\U0001f600\ud800\x7f\x85\u2028\n'\"\\"),
        *(math.inf, -math.inf, 1e300, 2**70, None, True),
        *([1, [math.inf, "~"]], {"é": {"a": None}}),
    ],
)
def test_what_is_dumped_is_loaded_as_the_same(value):
    text = dump(value)
    assert text.isascii()
    assert text.isprintable()
    assert load(text) == value
    assert math.isnan(load(dump(math.nan)))


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["scale"], "'scale' is not name=value"),
        (["2x=1"], "'2x=1' is not name=value"),
        (["limit="], "limit has no value; write limit=null"),
        (["a=1", "a=2"], "a is given twice"),
        (["a=[1"], r"a: '\[1' cannot be read"),
        (["a=[!!python/name:os.system]"], "a: .* cannot be read"),
        (["a='x"], "a: .* cannot be read"),
        (["a=" + "[" * 10_000], "a: .* cannot be read"),
        (["a=" + "9" * 5000], "a: .* cannot be read"),
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
    assert not any(parameter.problem(value) for value in good)
    assert all("x is " in parameter.problem(value) for value in bad)


@pytest.mark.parametrize(
    ("parameter", "good", "bad", "must"),
    [
        ("limit: int | None = None", [None, 1], [-3, 0], "at least 1"),
        ("steps = 100", [1], [0], "at least 1"),
        ("seed = 0", [0], [-1], "at least 0"),
        ("rate = 1e-3  # of learning", [0, 2.5], [-0.1, math.nan, math.inf], "at least 0"),
        ("hours: float | None = None", [0.1, None], [0, 0.0], "above 0"),
        ("diameters = [4, 9]", [[1], []], [[4, 0]], "at least 1"),
        ("contrasts = [0.1]", [[-0.5, 0.1]], [[-2]], "at least -1"),
        ("scale = 4  # 2, 3, 4 or 8", [2, 8], [5, -4], "one of these|at least 1"),
        ('x = ["a"]  # "a" or "b", or both', [["a", "b"], []], [["c"]], "one of these"),
        ('device = "auto"  # "auto", "cpu" or "cuda"', ["cuda:1"], ["tpu"], "one of these"),
        ("quality = 75  # 1 to 100, of a JPEG", [1, 100], [101], "from 1 to 100"),
        ('norm: str | None = None  # "batch" or null', [None, "batch", "x"], [], ""),
        ("n: int | str = 1  # or all", [2, "all"], [0], "at least 1"),
        ("x = 1  # a list, or nothing", [3], [], ""),
    ],
)
def test_the_values_that_there_are(parameter, good, bad, must):
    (found,) = read(parameter, where="x").values()
    assert [found.problem(value) for value in good] == [""] * len(good)
    for value in bad:
        assert re.match(rf"{found.name} must be ({must})", found.problem(value))


def test_a_notebook_run_by_hand_refuses_what_cannot_be():
    cell = "scale = 5  # 2, 3, 4 or 8\nlimit: int | None = None  # at most"
    there = {"In": ["", "import x", cell, "check(globals())"], "scale": 5, "limit": -3}
    with pytest.raises(
        ValueError, match=r"scale must be .* not 5 \(int\)\nlimit must be at least 1"
    ):
        check(there)
    check(there | {"scale": 2, "limit": 3})


def test_an_annotation_nobody_can_check():
    with pytest.raises(ValueError, match=r"the annotation 'np\.ndarray' is not one"):
        Parameter("x", None, "np.ndarray", "").problem(1)
