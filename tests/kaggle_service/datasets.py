"""The rules for data sets, and the upload of their files."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from kaggle_service.records import Dataset, Json, RefusalError, Upload

if TYPE_CHECKING:
    from kaggle_service.service import Service

LICENSES = {
    "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-BY-ND-4.0", "CC-BY-NC-4.0",
    "CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-4.0", "GPL-2.0", "GPL-3.0", "LGPL-3.0",
    "AGPL-3.0", "FDL-1.3", "ODbL-1.0", "DbCL-1.0", "ODC-BY-1.0", "PDDL", "apache-2.0",
    "copyright-authors", "other", "unknown",
}  # fmt: skip


def find(service: Service, body: Json) -> Dataset:
    """The data set asked for."""
    dataset = service.datasets.get(f"{body.get('ownerSlug')}/{body.get('datasetSlug')}")
    if dataset is None or not service.sees(dataset):
        raise RefusalError(service.missing, "Permission 'datasets.get' was denied")
    return dataset


def get_status(service: Service, body: Json) -> Json:
    """GetDatasetStatus."""
    return {"status": find(service, body).told()}


def start_upload(service: Service, body: Json) -> Json:
    """StartBlobUpload."""
    upload = Upload(secrets.token_hex(8), str(body["name"]), int(body.get("contentLength") or 0))
    service.uploads[upload.token] = upload
    return {"token": upload.token, "createUrl": f"{service.url}/upload/{upload.token}"}


def create(service: Service, body: Json) -> Json:
    """CreateDataset."""
    owner, slug = body.get("ownerSlug"), str(body.get("slug") or "")
    title = str(body.get("title") or "")
    _check_owner(service, owner)
    if f"{owner}/{slug}" in service.datasets:
        return _error(f'The requested title "{title}" is already in use by a dataset.')
    if not (6 <= len(slug) <= 50 and 6 <= len(title) <= 50):
        return _error("The title and the slug must be between 6 and 50 characters long.")
    if body.get("licenseName") not in LICENSES:
        return _error(f'Invalid license "{body.get("licenseName")}"')
    if not body.get("files"):
        return _error("No files were uploaded.")
    dataset = Dataset(service.owner, slug, title, [], service.next_id())
    dataset.license, dataset.private = body["licenseName"], bool(body.get("isPrivate"))
    return _add_version(service, dataset, body)


def create_version(service: Service, body: Json) -> Json:
    """CreateDatasetVersion."""
    dataset = find(service, body)
    _check_owner(service, dataset.owner)
    return _add_version(service, dataset, body.get("body") or {})


def _add_version(service: Service, dataset: Dataset, body: Json) -> Json:
    tokens = [file.get("token") for file in body.get("files") or []]
    uploads = [service.uploads.get(token) for token in tokens]
    if any(upload is None or not upload.complete for upload in uploads):
        return _error("An uploaded file is missing or not complete.")
    folder = service.folder / "datasets" / dataset.ref / str(len(dataset.versions) + 1)
    folder.mkdir(parents=True)
    for upload in uploads:
        if upload is not None:
            (folder / Path(upload.name).name).write_bytes(upload.received)
    dataset.versions.append(folder)
    service.datasets[dataset.ref] = dataset
    service.dataset_versions += 1
    struck = service.striking("fails", "dataset", service.dataset_versions)
    dataset.pending, dataset.failed = service.dataset_pending, bool(struck)
    return {
        "ref": f"/{dataset.ref}",
        "url": f"https://www.kaggle.com/datasets/{dataset.ref}",
        "status": "ok",
    }


def _check_owner(service: Service, owner: str | None) -> None:
    if owner != service.owner:
        raise RefusalError(403, "Permission 'datasets.update' was denied")


def _error(text: str) -> Json:
    return {"status": "error", "error": text}
