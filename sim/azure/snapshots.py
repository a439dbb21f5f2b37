# SPDX-License-Identifier: Apache-2.0
"""Microsoft.Compute/snapshots: a copy of a disk or of another snapshot, kept as a file of its own."""
import uuid

from . import disks
from .operations import DISK
from .refusal import Refusal, conflict, invalid, not_simulated
from .server import Answer, Routes
from .shapes import FLAG, RESOURCE, TAGS, TEXT, Choice, Fields, check
from .world import GROUP, Resource, page, utc_now

KIND = "Microsoft.Compute/snapshots"
SKUS = {"Standard_LRS": "Standard", "Premium_LRS": "Premium", "Standard_ZRS": "Standard"}
routes = Routes()

BODY = Fields("Snapshot", required=("location", "properties"), ignored=RESOURCE, not_done=("extendedLocation",),
              location=TEXT,
              tags=TAGS, sku=Fields("SnapshotSku", ignored=("tier",), name=Choice(*SKUS)),
              properties=Fields("SnapshotProperties", required=("creationData",), incremental=FLAG,
                                ignored=(*disks.READ_ONLY, "incrementalSnapshotFamilyId"),
                                not_done=("purchasePlan", "encryptionSettingsCollection", "diskAccessId",
                                          "securityProfile",
                                          "supportsHibernation", "copyCompletionError", "dataAccessAuthMode"),
                                          **disks.COMMON))


@routes.on("PUT", GROUP + "/providers/" + KIND + "/{name}", versions=disks.VERSIONS, action=KIND + "/write")
def put(request):
    world, body = request.lab.world, request.json()
    check(BODY, body)
    disks.check_name(request.params["name"])
    body = disks.clean(body, BODY)
    with world.lock:
        snapshot_id, snapshot = world.named(request, KIND)
        location = world.place(request, body, KIND, snapshot)
        if snapshot is not None and (snapshot.busy or not world.is_broken(snapshot)):
            return _update(request, snapshot, body)
        if snapshot is not None:
            disks.discard(world, snapshot)
        creation = body["properties"]["creationData"]
        if creation["createOption"] != "Copy":
            raise not_simulated(f"createOption '{creation['createOption']}' of a snapshot")
        source = disks.source_of(world, creation, (disks.KIND, KIND))
        if source.location != location:
            raise invalid(f"The source is in location '{source.location}', the snapshot in '{location}'.",
                          "snapshot.location")
        sku = (body.get("sku") or {}).get("name") or "Standard_LRS"
        properties, name = body["properties"], request.params["name"]
        for key in ("osType", "hyperVGeneration"):
            if source.properties.get(key):
                properties.setdefault(key, source.properties[key])
        properties["encryption"] = disks.check_encryption(world, properties, location)
        properties.update({"incremental": properties.get("incremental", False), "provisioningState": "Updating",
                           "timeCreated": utc_now(), "uniqueId": str(uuid.uuid4()), "diskState": "Unattached"})
        body.update({"id": snapshot_id, "name": name, "type": KIND, "location": location, "tags": body.get("tags", {}),
                     "sku": {"name": sku, "tier": SKUS[sku]}})
        snapshot = world.add(Resource(snapshot_id, KIND, world.group(request), body))
        snapshot.origin, snapshot.request = "request", request.json()
        operation = disks.start_creation(request, snapshot,
                                         lambda: request.lab.contents.copy(source.content, name, True))
        return Answer(202, body, operation.headers(request))


def _update(request, snapshot, body):
    if snapshot.busy:
        if snapshot.busy.method == "PUT" and snapshot.busy.body == request.body:
            return Answer(202, snapshot.body, snapshot.busy.headers(request))
        request.lab.world.not_busy(snapshot)
    if body["properties"]["creationData"] != snapshot.properties["creationData"]:
        raise conflict("PropertyChangeNotAllowed", "Changing property 'snapshot.creationData' is not allowed.",
                       "snapshot.creationData")
    snapshot.body["tags"] = body.get("tags", {})
    return Answer(200, snapshot.body)


@routes.on("GET", GROUP + "/providers/" + KIND + "/{name}", versions=disks.VERSIONS, action=KIND + "/read")
def get(request):
    with request.lab.world.lock:
        snapshot_id, snapshot = request.lab.world.named(request, KIND)
        return Answer(200, (snapshot or request.lab.world.get(snapshot_id)).body)


@routes.on("GET", GROUP + "/providers/" + KIND, versions=disks.VERSIONS, action=KIND + "/read")
def list_group(request):
    with request.lab.world.lock:
        group = request.lab.world.group(request)
        return Answer(200, page(request, [s.body for s in request.lab.world.of_type(KIND, group)]))


@routes.on("DELETE", GROUP + "/providers/" + KIND + "/{name}", versions=disks.VERSIONS, action=KIND + "/delete")
def delete(request):
    with request.lab.world.lock:
        _, snapshot = request.lab.world.named(request, KIND)
        if snapshot is None:
            return Answer(204)
        if snapshot.grant:
            raise conflict("OperationNotAllowed", "There is an active shared access signature outstanding for "
                                                  f"snapshot {snapshot.name}. Call EndGetAccess before deleting the "
                                                  "snapshot.")
        return disks.delete_in_operation(request, snapshot, DISK)


@routes.on("POST", GROUP + "/providers/" + KIND + "/{name}/beginGetAccess", versions=disks.VERSIONS,
           action=KIND + "/beginGetAccess/action")
def begin_access(request):
    if request.json().get("access") != "Read":
        raise Refusal(400, "InvalidParameter", "A snapshot can be read only.", "access")
    return disks.grant(request, KIND)


@routes.on("POST", GROUP + "/providers/" + KIND + "/{name}/endGetAccess", versions=disks.VERSIONS,
           action=KIND + "/endGetAccess/action")
def end_access(request):
    return disks.revoke(request, KIND)
