"""The rules for kernels: what a push may do, what is told of a session."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from kaggle_service import sessions
from kaggle_service.records import (
    ACTIVE,
    Json,
    Kernel,
    Push,
    RefusalError,
    Session,
    paged,
    slugify,
    utc,
)

if TYPE_CHECKING:
    from kaggle_service.service import Service


class PushError(Exception):
    """A refusal that the client takes for an answer."""


def save_kernel(service: Service, body: Json) -> Json:
    """SaveKernel: push."""
    push = Push(body)
    service.pushes.append(push)
    try:
        push.response = _push(service, push)
    except PushError as error:
        push.response = {"error": str(error)}
    return push.response


def _push(service: Service, push: Push) -> Json:
    body, number = push.request, service.counts["SaveKernel"]
    owner, slug = _target(service, body)
    for fault in service.striking("refused", "SaveKernel", number):
        raise PushError(fault.options["error"])
    kernel = service.kernels.get(f"{owner}/{slug}")
    title, new = _title(kernel, body)
    for fault in service.striking("renamed", "SaveKernel", number):
        new = new if kernel else fault.options["slug"]
    _check_free(service, owner, new, kernel)
    for _ in service.striking("beside", "SaveKernel", number):
        kernel = _accept(service, body, kernel, owner, new, title)[0]
        kernel.latest.beside = True
    _check_limits(service, body)
    kernel, dropped = _accept(service, body, kernel, owner, new, title)
    push.session = kernel.latest
    return {
        "ref": f"/{kernel.ref}",
        "url": f"https://www.kaggle.com/code/{kernel.ref}",
        "versionNumber": kernel.latest.number,
        "kernelId": kernel.id,
    } | dropped


def _target(service: Service, body: Json) -> tuple[str, str]:
    ref = str(body.get("slug") or "")
    if not ref and body.get("id"):
        ref = next((k.ref for k in service.kernels.values() if k.id == body["id"]), "")
    parts = ref.split("/")
    if len(parts) != 2 or not all(parts):
        raise PushError(f'Invalid slug: "{ref}"')
    if parts[0] != service.owner:
        raise RefusalError(403, "Permission 'kernels.update' was denied")
    return parts[0], parts[1]


def _title(kernel: Kernel | None, body: Json) -> tuple[str, str]:
    """The title and the slug that follows from it, which need not be the one asked for."""
    title = str(body.get("newTitle") or (kernel.title if kernel else ""))
    if not 5 <= len(title) <= 50:
        raise PushError("The title must be between 5 and 50 characters long.")
    if kernel and title == kernel.title:
        return title, kernel.slug
    slug = slugify(title)
    if len(slug) < 5:
        raise PushError("The slug must be at least 5 characters long.")
    return title, slug


def _check_free(service: Service, owner: str, slug: str, kernel: Kernel | None) -> None:
    other = service.kernels.get(f"{owner}/{slug}")
    if other is not None and other is not kernel:
        raise PushError(
            f'The requested title "{other.title}" is already in use by a notebook. '
            "Please choose another title."
        )


def _check_limits(service: Service, body: Json) -> None:
    gpu = bool(body.get("enableGpu"))
    cap = service.gpu_sessions if gpu else service.cpu_sessions
    if sum(s.gpu == gpu for s in active(service)) >= cap:
        raise PushError(f"Maximum batch {'GPU' if gpu else 'CPU'} session count of {cap} reached.")
    if gpu and service.gpu_hours_used >= service.gpu_hours_allowed:
        raise PushError(f"Weekly GPU quota of {service.gpu_hours_allowed:.2f} hours reached.")


def active(service: Service) -> list[Session]:
    """The sessions that are queued or running."""
    own = (k for k in service.kernels.values() if k.owner == service.owner)
    return [s for k in own for s in k.versions if s.status in ACTIVE]


def _accept(
    service: Service, body: Json, kernel: Kernel | None, owner: str, slug: str, title: str
) -> tuple[Kernel, Json]:
    if kernel is None:
        kernel = service.kernels.get(f"{owner}/{slug}")  # pushed by the second chain
    kernels, no_kernels = _sources(service, body, "kernelDataSources", f"{owner}/{slug}")
    datasets, no_datasets = _sources(service, body, "datasetDataSources", "")
    if kernel is None:
        kernel = Kernel(owner, slug, title, service.next_id())
    service.kernels.pop(kernel.ref, None)
    kernel.slug, kernel.title, kernel.private = slug, title, bool(body.get("isPrivate", True))
    service.kernels[kernel.ref] = kernel
    service.accepted += 1
    session = sessions.new(service, kernel, body, kernels, datasets)
    sessions.strike(service, session, service.accepted)
    kernel.versions.append(session)
    sessions.start(service, session)
    return kernel, {"invalidKernelSources": no_kernels, "invalidDatasetSources": no_datasets}


def _sources(service: Service, body: Json, key: str, own: str) -> tuple[list[str], list[str]]:
    """The sources that can be attached, and those that are dropped."""
    struck = service.striking("dropped", "SaveKernel", service.counts["SaveKernel"])
    good: list[str] = []
    bad: list[str] = []
    for source in body.get(key) or []:
        dropped = any(fnmatchcase(source, fault.options["source"]) for fault in struck)
        fits = _kernel_fits if key == "kernelDataSources" else _dataset_fits
        ok = not dropped and source != own and fits(service, source)
        (good if ok else bad).append(source)
    return good, bad


def _kernel_fits(service: Service, ref: str) -> bool:
    kernel = service.kernels.get(ref)
    visible = kernel is not None and (kernel.owner == service.owner or not kernel.private)
    return kernel is not None and visible and kernel.status == "COMPLETE"


def _dataset_fits(service: Service, ref: str) -> bool:
    dataset = service.datasets.get("/".join(ref.split("/")[:2]))
    return dataset is not None and service.sees(dataset) and dataset.ready() is not None


def find(service: Service, body: Json) -> tuple[Kernel, Session]:
    """The kernel asked for, and its newest version."""
    kernel = service.kernels.get(f"{body.get('userName')}/{body.get('kernelSlug')}")
    if kernel is None or (kernel.private and kernel.owner != service.owner):
        raise RefusalError(service.missing, "Permission 'kernels.get' was denied")
    return kernel, kernel.latest


def get_status(service: Service, body: Json) -> Json:
    """GetKernelSessionStatus."""
    _, session = find(service, body)
    message = session.failure_message  # of the status before the next one may follow from it
    status = session.told()
    return {"status": status} | ({"failureMessage": message} if message else {})


def list_output(service: Service, body: Json) -> Json:
    """ListKernelSessionOutput: the names, where to get them, and the log."""
    _, session = find(service, body)
    files = [
        {"fileName": name, "url": service.file_url(session, index)}
        for index, name in enumerate(session.files())
    ]
    shown, token = paged(files, body)
    return {
        "files": shown,
        "log": sessions.log_text(session) if session.done.is_set() else "",
        "nextPageToken": token,
    }


def get_kernel(service: Service, body: Json) -> Json:
    """GetKernel: pull."""
    kernel, session = find(service, body)
    blob: Json = {"source": session.text, "slug": kernel.slug}
    blob |= {key: session.request.get(key) for key in ("language", "kernelType")}
    return {"metadata": _metadata(kernel, session), "blob": blob}


def _metadata(kernel: Kernel, session: Session) -> Json:
    same = ("language", "kernelType", "enableGpu", "enableTpu", "enableInternet", "machineShape")
    return {key: session.request.get(key) for key in same} | {
        "id": kernel.id,
        "ref": kernel.ref,
        "title": kernel.title,
        "author": kernel.owner,
        "slug": kernel.slug,
        "isPrivate": kernel.private,
        "lastRunTime": utc(),
        "datasetDataSources": session.datasets,
        "kernelDataSources": session.kernels,
        "competitionDataSources": [],
        "modelDataSources": [],
        "categoryIds": session.request.get("categoryIds") or [],
        "currentVersionNumber": kernel.latest.number,
        "dockerImage": session.image,
    }


def get_quota(service: Service, body: Json) -> Json:
    """GetAcceleratorQuotaStatistics."""
    reserved = service.session_hours * sum(s.gpu for s in active(service))
    gpu = {
        "timeUsed": f"{round(service.gpu_hours_used * 3600)}s",
        "timeReserved": f"{round(reserved * 3600)}s",
        "totalTimeAllowed": f"{round(service.gpu_hours_allowed * 3600)}s",
        "minimumTimeAllowed": "0s",
        "hasEverRun": True,
    }
    tpu = gpu | {"timeUsed": "0s", "timeReserved": "0s", "totalTimeAllowed": "72000s"}
    return {"quotaRefreshTime": service.quota_refresh, "gpuQuota": gpu, "tpuQuota": tpu}
