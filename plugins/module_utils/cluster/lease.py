# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Lease that makes one run the only writer of a cluster: kube-system/aicluster-zerotrust.

Held and alive: holderIdentity set and renewTime plus leaseDurationSeconds in the future. The API server's
resourceVersion decides a race: the second of two takers gets a conflict. A clock that is off by more than the
lease's duration could take over a living lease; preflight checks clocks (ZT106).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import time
import typing as t

from ansible_collections.aicluster.zerotrust.plugins.module_utils.cluster.client import ApiError, Client, Json

NAMESPACE = "kube-system"
NAME = "aicluster-zerotrust"
COLLECTION = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"


@dataclasses.dataclass(frozen=True)
class Lease:
    """Who holds the lease (run id), when it was last renewed (epoch seconds), for how long (seconds)."""

    holder: str
    renewed_epoch: float
    duration_seconds: int

    def alive(self, now: float) -> bool:
        return bool(self.holder) and now < self.renewed_epoch + self.duration_seconds

    def to_dict(self) -> Json:
        return dataclasses.asdict(self)


class LeaseHeld(Exception):
    """Another run holds the lease and is alive."""

    def __init__(self, lease: Lease, now: float) -> None:
        self.lease = lease
        left = int(lease.renewed_epoch + lease.duration_seconds - now)
        super().__init__(
            f"ZT623: run {lease.holder} is changing this cluster (Lease {NAMESPACE}/{NAME}, renewed "
            f"{int(now - lease.renewed_epoch)} s ago, free in {left} s at the latest); wait for it to end."
        )


def parse(obj: Json | None) -> Lease | None:
    """A Lease object as Lease, or None where there is none or nobody holds it."""
    spec = (obj or {}).get("spec") or {}
    if not spec.get("holderIdentity"):
        return None
    return Lease(
        holder=spec["holderIdentity"],
        renewed_epoch=epoch(spec.get("renewTime") or spec.get("acquireTime") or ""),
        duration_seconds=int(spec.get("leaseDurationSeconds") or 0),
    )


def epoch(text: str) -> float:
    """Seconds since 1970 of an RFC 3339 time with any number of fraction digits; 0.0 where it is none."""
    text = text.strip()
    if not text:
        return 0.0
    if text.endswith(("Z", "z")):
        text = text[:-1] + "+00:00"
    head, dot, rest = text.partition(".")
    if dot:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        # Python 3.9 takes three or six fraction digits, Helm writes nine.
        text = f"{head}.{rest[:digits][:6].ljust(6, '0')}{rest[digits:]}"
    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.timezone.utc)
    return when.timestamp()


def acquire(client: Client, holder: str, duration_seconds: int, now: float) -> str:
    """Take or renew the lease; "acquired", "renewed" or "taken over from <run>".

    Raises LeaseHeld while another run holds it alive (also when it won a race), ApiError otherwise.
    """
    if not holder:
        raise ValueError("holder must not be empty")
    current = client.get(f"{COLLECTION}/{NAME}")
    held = parse(current)
    if held and held.holder != holder and held.alive(now):
        raise LeaseHeld(held, now)
    said = "acquired"
    if held:
        said = "renewed" if held.holder == holder else f"taken over from {held.holder}"
    body = _body(current, holder, duration_seconds, now, keep_acquired=bool(held and held.holder == holder))
    try:
        if current is None:
            client.request("POST", COLLECTION, body=body)
        else:
            client.request("PUT", f"{COLLECTION}/{NAME}", body=body)
    except ApiError as error:
        if error.status == 409:
            winner = parse(client.get(f"{COLLECTION}/{NAME}"))
            if winner and winner.holder != holder:
                raise LeaseHeld(winner, now) from error
        raise
    return said


@contextlib.contextmanager
def holding(client: Client, holder: str, duration_seconds: int) -> t.Iterator[None]:
    """The lease around a block; raises LeaseHeld and ApiError as acquire does, and gives it back in any case."""
    acquire(client, holder, duration_seconds, time.time())
    try:
        yield
    finally:
        release(client, holder, time.time())


def release(client: Client, holder: str, now: float) -> str:
    """Give the lease back; "released", "not held", or "held by <run>" (left alone)."""
    current = client.get(f"{COLLECTION}/{NAME}")
    held = parse(current)
    if current is None or held is None:
        return "not held"
    if held.holder != holder:
        return f"held by {held.holder}"
    body = _body(current, "", held.duration_seconds, now, keep_acquired=False)
    try:
        client.request("PUT", f"{COLLECTION}/{NAME}", body=body)
    except ApiError as error:
        if error.status != 409:
            raise
        # Someone took it over in this very moment: then it is not ours any more.
        return "not held"
    return "released"


def _body(current: Json | None, holder: str, duration_seconds: int, now: float, keep_acquired: bool) -> Json:
    stamp = datetime.datetime.fromtimestamp(now, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    metadata: Json = {"name": NAME, "namespace": NAMESPACE}
    spec = dict((current or {}).get("spec") or {})
    if current:
        metadata["resourceVersion"] = current["metadata"]["resourceVersion"]
    spec["renewTime"] = stamp
    spec["leaseDurationSeconds"] = duration_seconds or 1
    if holder:
        spec["holderIdentity"] = holder
        if not keep_acquired:
            spec["acquireTime"] = stamp
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + (1 if current else 0)
    else:
        spec.pop("holderIdentity", None)
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
