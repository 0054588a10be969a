"""The rules for data sets, and the upload of their files."""

from __future__ import annotations

import io
import secrets
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from kaggle_service.records import Dataset, Json, RefusalError, Upload, paged, utc

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


def get_dataset(service: Service, body: Json) -> Json:
    """GetDataset."""
    return _describe(find(service, body))


def list_datasets(service: Service, body: Json) -> Json:
    """ListDatasets: one's own, or all that one may see."""
    mine = body.get("group") in ("MY", "DATASET_SELECTION_GROUP_MY")
    found = [
        d
        for d in service.datasets.values()
        if service.sees(d)
        and (d.owner == service.owner or not mine)
        and body.get("user") in (None, "", d.owner)
        and (body.get("search") or "").lower() in f"{d.title} {d.slug}".lower()
    ]
    shown, token = paged(found, body)
    return {"datasets": [_describe(d) for d in shown], "nextPageToken": token}


def _describe(dataset: Dataset) -> Json:
    return {
        "id": dataset.id,
        "ref": dataset.ref,
        "title": dataset.title,
        "ownerRef": dataset.owner,
        "isPrivate": dataset.private,
        "licenseName": dataset.license,
        "currentVersionNumber": len(dataset.versions),
        "lastUpdated": utc(dataset.created),
        "url": f"https://www.kaggle.com/datasets/{dataset.ref}",
        "totalBytes": sum(p.stat().st_size for p in files_of(dataset).values()),
    }


def files_of(dataset: Dataset) -> dict[str, Path]:
    """Name -> path of the newest ready version."""
    folder = dataset.ready()
    if folder is None:
        return {}
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p for p in paths}


def list_files(service: Service, body: Json) -> Json:
    """ListDatasetFiles."""
    dataset = find(service, body)
    files = [
        {"ref": name, "name": name, "totalBytes": p.stat().st_size, "creationDate": utc()}
        for name, p in files_of(dataset).items()
    ]
    shown, token = paged(files, body)
    return {"datasetFiles": shown, "nextPageToken": token}


def download(service: Service, body: Json) -> str:
    """DownloadDataset: the address of one file, or of all in one archive."""
    dataset = find(service, body)
    name = body.get("fileName")
    if name and name not in files_of(dataset):
        raise RefusalError(404, f"No file {name}")
    return f"{service.url}/data/{dataset.ref}/{quote(name or f'{dataset.slug}.zip')}"


def content(service: Service, path: str) -> bytes | None:
    """What stands at an address of `download`."""
    owner, slug, name = path.split("/", 2)
    dataset = service.datasets.get(f"{owner}/{slug}")
    files = files_of(dataset) if dataset else {}
    if name in files:
        return files[name].read_bytes()
    if name != f"{slug}.zip":
        return None
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for inner, file in files.items():
            archive.write(file, inner)
    return packed.getvalue()


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


def delete(service: Service, body: Json) -> Json:
    """DeleteDataset."""
    dataset = find(service, body)
    _check_owner(service, dataset.owner)
    del service.datasets[dataset.ref]
    return {}


def _add_version(service: Service, dataset: Dataset, body: Json) -> Json:
    tokens = [file.get("token") for file in body.get("files") or []]
    uploads = [service.uploads.get(token) for token in tokens]
    if any(upload is None or not upload.complete for upload in uploads):
        return _error("An uploaded file is missing or not complete.")
    folder = service.folder / "datasets" / dataset.ref / str(len(dataset.versions) + 1)
    folder.mkdir(parents=True)
    for upload in uploads:
        if upload is not None:
            _unpack(upload, folder)
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


def _unpack(upload: Upload, folder: Path) -> None:
    """Store a file; an archive becomes a folder."""
    name = Path(upload.name).name
    if not name.endswith(".zip"):
        (folder / name).write_bytes(upload.received)
        return
    with zipfile.ZipFile(io.BytesIO(upload.received)) as archive:
        archive.extractall(folder / name.removesuffix(".zip"))


def _check_owner(service: Service, owner: str | None) -> None:
    if owner != service.owner:
        raise RefusalError(403, "Permission 'datasets.update' was denied")


def _error(text: str) -> Json:
    return {"status": "error", "error": text}
