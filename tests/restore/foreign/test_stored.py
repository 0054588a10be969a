import io

import nibabel
import numpy as np
import pytest
from PIL import Image

from medsr_lib.restore.foreign import stored

PICTURE = np.arange(20, dtype=np.uint8).reshape(4, 5)


def npy(values, stated=None):
    file = io.BytesIO()
    np.save(file, values, allow_pickle=True)
    return file.getvalue().replace(b"(4, 5)", stated or b"(4, 5)")


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy", "a.nii", "a.nii.gz", "a.bmp"])
def test_every_format_gives_the_pixels_and_damage_is_named(name, tmp_path):
    path = tmp_path / name
    if name == "a.npy":
        np.save(path, PICTURE)
    elif ".nii" in name:
        nibabel.save(nibabel.Nifti1Image(PICTURE[..., None], np.eye(4)), path)
    else:
        Image.fromarray(PICTURE).save(path)
    np.testing.assert_array_equal(stored.read(path), PICTURE)
    for keep in (0, 30):
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(ValueError, match=f"{name}: cannot be read"):
            stored.read(path)


@pytest.mark.parametrize(
    "content",
    [npy(PICTURE.astype(object)), npy(PICTURE.astype(str)), npy(PICTURE, b"(4000000, 5000)")],
)
def test_arrays_of_no_numbers_or_of_more_than_the_file_holds_are_refused(content, tmp_path):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npy: cannot be read"):
        stored.read(tmp_path / "a.npy")


def test_a_stored_picture_is_turned_as_viewers_turn_it(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PICTURE).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(stored.read(tmp_path / "a.png"), np.rot90(PICTURE, -1))


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_what_is_written_is_read_again(ending, tmp_path):
    image = PICTURE.astype(np.float32) / 20
    stored.write(tmp_path / f"a{ending}", image)
    read = stored.as_tensor(stored.read(tmp_path / f"a{ending}"))[0]
    np.testing.assert_allclose(read, image, atol=1e-5)
