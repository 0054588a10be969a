import pytest

from medsr_lib.series import verify
from medsr_lib.series.cli import main

RECOMPUTE = """
from pathlib import Path

def total():
    return str(sum(map(int, (Path(__file__).parent / "kept.txt").read_text().split())))

NUMBERS = {"total": total, "table": lambda: "\\n\\n| a |\\n|---|\\n| 1 |\\n"}
"""


@pytest.fixture
def root(tmp_path):
    """A repository with two numbers and a table."""
    (tmp_path / "docs/results").mkdir(parents=True)
    (tmp_path / verify.RECOMPUTE).write_text(RECOMPUTE)
    (tmp_path / "docs/results/kept.txt").write_text("1 2 3")
    (tmp_path / "README.md").write_text("In all <!--n:total-->6<!--/n--> patients.\n")
    (tmp_path / "docs/a.md").write_text(
        "<!--n:table-->\n\n| a |\n|---|\n| 1 |\n<!--/n-->\n\nTotal: <!--n:total-->6<!--/n-->\n"
    )
    return tmp_path


def test_right_numbers_are_right_wherever_they_stand(root, capsys):
    assert main(["verify", "--root", str(root)]) == 0
    said = capsys.readouterr().out.splitlines()
    right = [line.split()[1] for line in said if line.endswith("right")]
    assert right == ["total", "table", "total"]
    assert all(checked.right for checked in verify.verify(root))


def test_a_number_that_the_rows_do_not_give_is_wrong(root, capsys):
    (root / "docs/results/kept.txt").write_text("1 2 4")
    assert main(["verify", "total", "--root", str(root)]) == 1
    assert "README.md:1  total  6  WRONG, it is 7" in capsys.readouterr().out


def test_pages_are_written_from_the_rows(root):
    (root / "docs/results/kept.txt").write_text("1 2 4")
    before = (root / "README.md").read_text()
    assert [c.number.page.name for c in verify.write(root)] == ["README.md", "a.md"]
    assert (root / "README.md").read_text() == before.replace(">6<", ">7<")
    assert all(checked.right for checked in verify.verify(root))
    assert verify.write(root) == []


def test_refuses_unknown_numbers_and_folders(root, tmp_path):
    with pytest.raises(ValueError, match="marks a number 'x'; there are table, total"):
        list(verify.verify(root, ["x"]))
    (root / "README.md").write_text("<!--n:new-->1<!--/n-->")
    with pytest.raises(ValueError, match=r"README.md, line 1: .* has no function for 'new'"):
        list(verify.verify(root))
    (root / verify.RECOMPUTE).unlink()
    with pytest.raises(ValueError, match="run this in the repository"):
        list(verify.verify(root))
