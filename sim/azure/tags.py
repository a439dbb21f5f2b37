# SPDX-License-Identifier: Apache-2.0
"""PATCH of a resource: its tags are replaced. Everything else that PATCH could change is not done."""
from . import disks, machines, network, snapshots
from .refusal import not_found
from .server import Answer, Routes
from .shapes import TAGS, Fields, check
from .world import GROUP

KINDS = ((disks.KIND, disks.VERSIONS, "DiskUpdate"), (snapshots.KIND, disks.VERSIONS, "SnapshotUpdate"),
         (network.KIND, network.VERSIONS, "TagsObject"), (machines.KIND, machines.VERSIONS, "VirtualMachineUpdate"))
routes = Routes()


def _patch(kind, shape):
    def patch(request):
        world, body = request.lab.world, request.json()
        check(shape, body)
        with world.lock:
            resource_id, resource = world.named(request, kind)
            if resource is None:
                raise not_found(resource_id, request.params["group"])
            world.not_busy(resource)
            if body.get("tags") is not None:
                resource.body["tags"] = body["tags"]
            return Answer(200, resource.body)
    return patch


for _kind, _versions, _name in KINDS:
    # Network interfaces take tags alone.
    _others = () if _kind == network.KIND else ("properties", "sku", "zones", "identity", "plan")
    routes.on("PATCH", f"{GROUP}/providers/{_kind}/{{name}}", versions=_versions, action=_kind + "/write")(
        _patch(_kind, Fields(_name, not_done=_others, tags=TAGS)))
