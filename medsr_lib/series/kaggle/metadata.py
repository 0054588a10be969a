"""The metadata of kernels and data sets, and Kaggle's rules for them.

What each notebook of the series needs is in `NEEDS`; `medsr kaggle metadata kaggle` writes the
folder `kaggle/` from it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

OWNER = "<owner>"  # filled in from the credentials when it is pushed
LIBRARY = "medsr-lib"
ESPCN = f"{OWNER}/medsr-02-espcn"
FIGSHARE = "ashkhagan/figshare-brain-tumor-dataset"
CHEST = "paultimothymooney/chest-xray-pneumonia"
GPU = "NvidiaTeslaT4"  # two of them
HOURS = 8.5  # of a session, where a notebook has this parameter
LIMIT = 12.0  # hours after which Kaggle ends a session, on CPU or GPU
MARGIN = 0.25  # hours from the container's start to the notebook's, and for its output to be kept
KERNEL = "kernel-metadata.json"
DATASET = "dataset-metadata.json"


@dataclass(frozen=True)
class Needs:
    """What a notebook needs on Kaggle.

    Attributes:
        gpu: whether it needs GPUs.
        data: its data set, "owner/slug".
        marker: a file or folder that these data have, by which they are found.
        kernels: those whose output it reads, "owner/slug".
    """

    gpu: bool = False
    data: str = FIGSHARE
    marker: str = "1.mat"
    kernels: tuple[str, ...] = ()


NEEDS = {
    "01_data_exploration": Needs(),
    "02_espcn": Needs(),
    "03_srgan": Needs(gpu=True),
    "04_regional_ssim": Needs(kernels=(ESPCN,)),
    "05_appearance": Needs(kernels=(ESPCN,)),
    "06_decisions": Needs(kernels=(ESPCN,)),
    "07_existing_networks": Needs(),
    "08_chest_xray": Needs(data=CHEST, marker="train/NORMAL"),
    "09_disease_detection": Needs(
        data=CHEST, marker="train/NORMAL", kernels=(f"{OWNER}/medsr-08-chest-xray",)
    ),
}


def needs_of(
    stem: str, *, gpu: bool | None, data: str | None, kernels: Sequence[str] = ()
) -> Needs:
    """What a notebook needs, with other choices where they are given."""
    needs = NEEDS.get(stem, Needs())
    return replace(
        needs,
        gpu=needs.gpu if gpu is None else gpu,
        data=data or needs.data,
        kernels=tuple(kernels) or needs.kernels,
    )


def of_kernel(
    ref: str,
    *,
    notebook: str,
    needs: Needs,
    datasets: Sequence[str] = (),
    docker_image: str | None = None,
) -> dict[str, Any]:
    """The metadata of a kernel."""
    return {
        "id": ref,
        "title": ref.rpartition("/")[2].replace("-", " "),
        "code_file": notebook,
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": needs.gpu,
        "enable_tpu": False,
        "enable_internet": False,
        "machine_shape": GPU if needs.gpu else None,
        "dataset_sources": [needs.data, *datasets],
        "kernel_sources": list(needs.kernels),
        "docker_image": docker_image,
    }


def of_dataset(ref: str) -> dict[str, Any]:
    """The metadata of a data set, checked.

    Raises:
        ValueError: a name that Kaggle would not take.
    """
    slug = ref.rpartition("/")[2]
    if not 6 <= len(slug) <= 50 or slug != slugify(slug):
        raise ValueError(
            f"{slug!r} cannot be the name of a data set: 6 to 50 small letters, digits and hyphens"
        )
    return {
        "id": ref,
        "title": slug.replace("-", " "),
        "subtitle": "Part of a notebook series on super-resolution",
        "licenses": [{"name": "other"}],  # MIT is not in Kaggle's list
    }


def check(content: Mapping[str, Any]) -> None:
    """Refuse the metadata of a kernel that Kaggle would refuse, rename, or run without its inputs.

    Raises:
        ValueError: says which rule is broken.
    """
    ref, title = str(content.get("id", "")), str(content.get("title", ""))
    owner, _, slug = ref.partition("/")
    if not owner or not slug:
        raise ValueError(f"id is {ref!r}; it must be owner/slug")
    if not 5 <= len(title) <= 50:
        raise ValueError(
            f"the title {title!r} has {len(title)} characters; Kaggle takes 5 to 50: give a "
            "shorter --name"
        )
    if slugify(title) != slug:
        raise ValueError(
            f"Kaggle would call a kernel titled {title!r} {slugify(title)!r} and not {slug!r}; "
            "take a name of small letters, digits and hyphens"
        )
    if content["enable_gpu"] and not content.get("machine_shape"):
        raise ValueError(f"enable_gpu needs machine_shape beside it, for example {GPU!r}")
    for name in ("dataset_sources", "kernel_sources"):
        for source in content.get(name, []):
            if not re.fullmatch(r"[^/\s]+/[^/\s]+", source):
                raise ValueError(f"{name}: {source!r} is not owner/slug")


def check_hours(hours: float, limit: float) -> None:
    """Refuse a session that Kaggle would end before it has saved its output.

    Raises:
        ValueError: the hours are not positive, or too many.
    """
    if not 0 < hours <= limit - MARGIN:
        raise ValueError(
            f"{hours:g} hours: a session ends after {limit:g} h with all its output lost, so that "
            f"its notebook may take more than 0 and at most {limit - MARGIN:g} h"
        )


def slug_of(stem: str) -> str:
    """The name of a notebook's kernel.

    >>> slug_of("03_srgan")
    'medsr-03-srgan'
    """
    return slugify(f"medsr {stem}")


def slugify(title: str) -> str:
    """What Kaggle makes of a title.

    >>> slugify("medsr 03 SRGAN, s01")
    'medsr-03-srgan-s01'
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def templates() -> dict[str, dict[str, Any]]:
    """The metadata that are kept in the folder `kaggle/`, by path."""
    library = f"{OWNER}/{LIBRARY}"
    kept = {f"{LIBRARY}/{DATASET}": of_dataset(library)}
    for stem, needs in NEEDS.items():
        kept[f"{stem}/{KERNEL}"] = of_kernel(
            f"{OWNER}/{slug_of(stem)}", notebook=f"{stem}.ipynb", needs=needs, datasets=[library]
        )
    return kept
