import pytest

from medsr_lib.files import atomic


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "folder" / "a.txt"


def names(path):
    return [p.name for p in path.parent.iterdir()]


def test_makes_the_folder_and_the_file(path):
    with atomic(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.parent == path.parent  # a rename across disks would not be atomic
    assert path.read_text() == "whole"
    assert names(path) == ["a.txt"]


def test_replaces_a_file_at_the_end(path):
    path.parent.mkdir(parents=True)
    path.write_text("former")
    with atomic(str(path)) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "former"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_a_failure_leaves_the_former_file(path, error):
    path.parent.mkdir(parents=True)
    path.write_text("former")

    def fail():
        with atomic(path) as temporary:
            temporary.write_text("half of it")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert path.read_text() == "former"
    assert names(path) == ["a.txt"]


def test_a_block_that_writes_nothing_is_an_error(path):
    path.parent.mkdir(parents=True)
    path.write_text("former")
    with pytest.raises(FileNotFoundError), atomic(path):
        pass
    assert path.read_text() == "former"
