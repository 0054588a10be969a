import pytest
import torch
from torch import nn

from medsr_lib.case import Case, digest, digests, for_case, refuse_seen, trained_on

image = torch.linspace(0, 1, 35).view(5, 7)
mask = image > 0.5


def case(**changes):
    return Case(**{"id": "7", "patient": "P1", "label": "glioma", "image": image} | changes)


def test_repr_tells_what_it_is():
    assert repr(case()) == "Case(7: glioma, patient P1, 5 x 7)"
    assert (
        repr(case(mask=mask, label="")) == "Case(7: no label, patient P1, 5 x 7, lesion 17 pixels)"
    )


def test_image_and_mask_are_cropped_alike():
    cropped = case(mask=mask, spacing=0.5).cropped(2)
    assert cropped.image.shape == cropped.mask.shape == (4, 6)
    assert torch.equal(cropped.mask, cropped.image > 0.5)
    assert cropped.spacing == 0.5
    assert case().cropped(1).image is image
    assert case().cropped(5).mask is None


def test_too_small_to_crop_names_the_case():
    with pytest.raises(
        ValueError, match=r"case 7: an image of 5 x 7 pixels is smaller than scale 8"
    ):
        case().cropped(8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"image": image.double()},
            "case 7: expected an image .* of float32 in .* got torch.float64",
        ),
        ({"image": image.numpy()}, "got float32|got ndarray"),
        ({"image": image[None]}, r"expected an image \(H, W\), got \(1, 5, 7\)"),
        ({"image": image * 255}, r"case 7: image: expected values in \[0, 1\]"),
        ({"image": image / 0}, "NaN or infinite"),
        ({"mask": mask.float()}, "expected a mask .* of bool, got torch.float32"),
        ({"mask": mask[:4]}, r"image is \(5, 7\), mask \(4, 7\)"),
        ({"spacing": 0.0}, r"spacing must be positive \(mm\), got 0.0"),
    ],
)
def test_what_is_no_case_is_refused(changes, message):
    with pytest.raises((TypeError, ValueError), match=message):
        case(**changes)


def test_a_function_that_differs_by_case_is_asked_for_the_one_of_a_case():
    class ByCase:
        def of(self, one):
            return one.id.upper

    case = Case("a", "p", "", torch.zeros(2, 2))
    assert for_case(ByCase(), case)() == "A"
    assert for_case(len, case) is len


def test_an_altered_case_says_what_was_done_and_the_original_does_not():
    case = Case("a", "p", "", torch.zeros(2, 2), about={"plane": "axial"})
    other = case.altered(torch.ones(2, 2), "made white")
    about = {"plane": "axial", "altered": "made white"}
    assert dict(other.about) == about | {"digest": case.digest}
    assert other.image.min() == 1
    assert dict(case.about) == {"plane": "axial"}


def test_a_digest_tells_images_apart_and_stays_when_one_is_cropped_or_altered():
    first = case()
    changed = image.clone()
    changed[2, 3] += 1e-6
    assert first.digest == digest(image[None]) == case(id="8", patient="P2", mask=mask).digest
    assert len({first.digest, digest(changed), digest(image.view(7, 5)), digest(image[1:])}) == 4
    assert first.cropped(2).digest == first.altered(image * 0, "made black").digest == first.digest
    assert digests([first, first]) == digests(image[None, None]) == {first.digest}


class Knowing(nn.Module):
    def __init__(self, *cases):
        super().__init__()
        self.trained_on = digests(cases)


def test_a_method_that_was_trained_on_a_tested_case_is_refused_by_name():
    cases = [case(id=str(n), image=image / (n + 1)) for n in range(4)]
    knows = nn.Sequential(nn.Identity(), nn.ModuleList([Knowing(cases[3]), Knowing(cases[1])]))
    assert trained_on(knows) == {cases[1].digest, cases[3].digest}
    methods = {"plain": torch.clone, "foreign": nn.Identity(), "ours": knows}
    refuse_seen(methods, [cases[0], cases[2]])
    with pytest.raises(
        ValueError, match=r"^ours was trained on case 1, which is tested here: test"
    ):
        refuse_seen(methods, cases[:2])
    with pytest.raises(
        ValueError, match=r"ours was trained on case 1 \(and 1 more\), which are te"
    ):
        refuse_seen(methods, cases)
