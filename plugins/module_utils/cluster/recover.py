# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery of a Helm release whose last run was killed or broke, so that Helm acts on it again.

Helm refuses a release whose newest revision is pending; kubernetes.core.helm takes one that is failed for unchanged
(it compares chart and values only). Removing the broken revision's record cures both: Helm adopts the objects that
are there by their annotations. Nothing but Helm's own records is touched, so no pod restarts and nothing is
uninstalled. Each record is kept as a Secret that Helm does not look at.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster import helm, lease
from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import ApiError, Client, Json

KEPT_TYPE = "aicluster.zerotrust/helm-record"
LABEL_RELEASE = "aicluster.zerotrust/release"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"


class RecoverError(Exception):
    """The release must not be recovered now; the text is one sentence with its code."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One thing to do to one revision's Secret: "remove" (broken) or "supersede" (deployed below a broken one)."""

    what: str
    secret: Json
    revision: int
    status: str

    @property
    def name(self) -> str:
        return str(self.secret["metadata"]["name"])

    def line(self, release: str) -> str:
        return f"release {release} revision {self.revision} ({self.status})"


def plan(
    secrets: t.Sequence[Json], release: str, timeout_seconds: int, now: float, *, reapply: bool = False
) -> list[Step]:
    """What to do about a release's Secrets (full objects, any order); nothing where it is not broken.

    From the newest revision down, every failed or pending one is removed. A deployed one below them is marked
    superseded: the broken run changed objects that it describes, so an equal intent must not pass for unchanged.
    With reapply a deployed newest one is, too: its objects were changed by another hand.
    Raises RecoverError where a pending one is younger than timeout_seconds: its run may be alive.
    """
    steps: list[Step] = []
    for secret in sorted(secrets, key=helm.revision, reverse=True):
        try:
            found = helm.summary(secret)
        except ValueError as error:
            raise RecoverError(f"ZT618: {error}; repair or remove it by hand, with a copy.") from error
        status, revision = found["status"], int(found["revision"])
        step = Step("remove", secret, revision, status)
        if status in helm.PENDING:
            age = now - found["updated_epoch"]
            if age < timeout_seconds:
                raise RecoverError(
                    f"ZT618: {step.line(release)} began {int(age)} s ago and its run may be alive (its timeout is "
                    f"{timeout_seconds} s); wait {int(timeout_seconds - age) + 1} s and run again."
                )
            steps.append(step)
        elif status == "failed":
            steps.append(step)
        elif status == "uninstalling" and not steps:
            raise RecoverError(
                f"ZT618: {step.line(release)} is being uninstalled; finish that with helm uninstall, then run again."
            )
        else:
            if status == "deployed" and (steps or reapply):
                steps.append(Step("supersede", secret, revision, status))
            break
    return steps


def kept_copy(step: Step, release: str, namespace: str) -> Json:
    """The Secret that keeps a record: same data, another type and no label that Helm looks for."""
    meta = step.secret["metadata"]
    # Part of the uid makes the name unique where a revision number comes back after a recovery.
    name = f"helm-record.{release}.v{step.revision}.{str(meta['uid'])[:8]}"
    labels = {LABEL_MANAGED_BY: "aicluster.zerotrust", LABEL_RELEASE: release}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": KEPT_TYPE,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "annotations": {"aicluster.zerotrust/status": step.status, "aicluster.zerotrust/record": step.name},
        },
        "data": step.secret["data"],
    }


def superseded(step: Step) -> Json:
    """The Secret of a deployed revision with its status set to superseded, in label and record."""
    record = helm.decode(step.secret)
    record.setdefault("info", {})["status"] = "superseded"
    meta = dict(step.secret["metadata"])
    meta["labels"] = {**(meta.get("labels") or {}), "status": "superseded"}
    return {**step.secret, "metadata": meta, "data": {"release": helm.encode(record)}}


def recover(
    client: Client,
    release: str,
    namespace: str,
    holder: str,
    timeout_seconds: int,
    now: float,
    dry_run: bool,
    reapply: bool = False,
) -> list[Step]:
    """Plan and do the recovery; the steps that were done (dry_run: would be). Raises RecoverError, ApiError.

    holder: this run's id; a Lease that another run holds alive is refused where there is something to recover.
    """
    path = helm.secrets_path(namespace)
    secrets = client.list_all(path, labels=f"owner=helm,name={release}")
    steps = plan(secrets, release, timeout_seconds, now, reapply=reapply)
    if not steps:
        return []
    held = lease.parse(client.get(f"{lease.COLLECTION}/{lease.NAME}"))
    if held and held.alive(now) and held.holder != holder:
        raise RecoverError(
            f"ZT618: {steps[0].line(release)} is broken, and run {held.holder} holds the cluster's Lease; "
            "wait until that run ended."
        )
    if dry_run:
        return steps
    # Below first: killed in between, the newest record is still broken, and the next run begins again.
    for step in reversed(steps):
        _keep(client, kept_copy(step, release, namespace))
        try:
            if step.what == "supersede":
                client.request("PUT", f"{path}/{step.name}", body=superseded(step))
            else:
                meta = step.secret["metadata"]
                preconditions = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
                client.request("DELETE", f"{path}/{step.name}", body={"preconditions": preconditions})
        except ApiError as error:
            if error.status == 409:
                raise RecoverError(
                    f"ZT618: {step.line(release)} changed while it was being recovered: another Helm is at work; "
                    "wait until it ended."
                ) from error
            raise
    return steps


def _keep(client: Client, copy: Json) -> None:
    path = helm.secrets_path(copy["metadata"]["namespace"])
    try:
        client.request("POST", path, body=copy)
    except ApiError as error:
        # Kept by an earlier run that was killed before it went on: the name has the record's uid.
        if error.status != 409:
            raise
