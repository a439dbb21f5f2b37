# SPDX-License-Identifier: Apache-2.0
"""Microsoft.Compute/disks: import, upload, copy; SAS; who may delete and attach what.

diskState: ReadyToUpload --beginGetAccess Write--> ActiveUpload --endGetAccess, footer good--> Unattached
           Unattached --beginGetAccess Read--> ActiveSAS --endGetAccess--> Unattached
           Unattached --VM--> Attached --deallocate--> Reserved --start--> Attached --VM deleted--> Unattached"""
import re
import time
import uuid

from . import content, vhd
from .operations import DISK
from .refusal import Refusal, conflict, invalid, not_simulated
from .server import Answer, Routes
from .shapes import FLAG, IGNORED, NUMBER, RESOURCE, TAGS, TEXT, Choice, Fields, Items, check
from .world import GROUP, Resource, page, utc_now

KIND = "Microsoft.Compute/disks"
VERSIONS = ("2024-03-02", "2023-10-02", "2023-04-02", "2025-01-02")
GIB = 1 << 30
MIN_UPLOAD_BYTES, MAX_UPLOAD_BYTES = 20972032, 35183298347520          # diskRPCommon.json, uploadSizeBytes
MAX_ACCESS_S = 5184000                                                  # 60 days
SKUS = {"Standard_LRS": "Standard", "StandardSSD_LRS": "Standard", "StandardSSD_ZRS": "Standard",
        "Premium_LRS": "Premium",
        "Premium_ZRS": "Premium", "PremiumV2_LRS": "Premium", "UltraSSD_LRS": "Ultra"}
UPLOADING = ("ReadyToUpload", "ActiveUpload")
routes = Routes()

CREATION = Fields("CreationData", required=("createOption",), ignored=("sourceUniqueId", "imageReference"),
                  not_done=("galleryImageReference", "logicalSectorSize", "securityDataUri", "performancePlus",
                            "elasticSanResourceId",
                            "provisionedBandwidthCopySpeed"),
                  createOption=Choice("Empty", "Attach", "FromImage", "Import", "Copy", "Restore", "Upload",
                                      "CopyStart", "ImportSecure",
                                      "UploadPreparedSecure", "CopyFromSanSnapshot"),
                  sourceUri=TEXT, storageAccountId=TEXT, sourceResourceId=TEXT, uploadSizeBytes=NUMBER)
ENCRYPTION = Fields("Encryption", diskEncryptionSetId=TEXT,
                    type=Choice("EncryptionAtRestWithPlatformKey", "EncryptionAtRestWithCustomerKey",
                                "EncryptionAtRestWithPlatformAndCustomerKeys"))
COMMON = {"osType": Choice("Windows", "Linux"), "hyperVGeneration": Choice("V1", "V2"), "creationData": CREATION,
          "diskSizeGB": NUMBER, "encryption": ENCRYPTION,
          "networkAccessPolicy": Choice("AllowAll", "AllowPrivate", "DenyAll"),
          "publicNetworkAccess": Choice("Enabled", "Disabled"),
          "supportedCapabilities": Fields("SupportedCapabilities", not_done=("diskControllerTypes",),
                                          acceleratedNetwork=FLAG,
                                          architecture=Choice("x64", "Arm64"))}
READ_ONLY = ("timeCreated", "diskSizeBytes", "uniqueId", "provisioningState", "diskState", "completionPercent")
DISK_BODY = Fields("Disk", required=("location", "properties"), ignored=(*RESOURCE, "managedByExtended"),
                   not_done=("extendedLocation",), location=TEXT, tags=TAGS, zones=Items(TEXT),
                   sku=Fields("DiskSku", ignored=("tier",), name=Choice(*SKUS)),
                   properties=Fields("DiskProperties", required=("creationData",),
                                     ignored=(*READ_ONLY, "diskIOPSReadWrite", "diskMBpsReadWrite", "shareInfo",
                                              "propertyUpdatesInProgress", "LastOwnershipUpdateTime", "tier"),
                                     not_done=("purchasePlan", "encryptionSettingsCollection", "diskIOPSReadOnly",
                                               "diskMBpsReadOnly", "maxShares", "diskAccessId", "burstingEnabled",
                                               "burstingEnabledTime", "supportsHibernation", "securityProfile",
                                               "dataAccessAuthMode", "optimizedForFrequentAttach"), **COMMON))
ACCESS_BODY = Fields("GrantAccessData", required=("access", "durationInSeconds"),
                     not_done=("getSecureVMGuestStateSAS",), access=Choice("Read", "Write", "None"),
                     durationInSeconds=NUMBER,
                     fileFormat=Choice("VHD", "VHDX"))


def check_name(name):
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,78}[A-Za-z0-9_])?", name):
        raise Refusal(400, "InvalidParameter", f"The entity name '{name}' is invalid according to its validation rule: "
                                               "up to 80 characters of letters, digits, '_', '.' and '-', from a "
                                               "letter or digit to a letter, digit or '_'.", "name")


def check_encryption(world, properties, location):
    encryption = properties.get("encryption") or {}
    set_id, kind = encryption.get("diskEncryptionSetId"), encryption.get("type")
    if set_id:
        found = world.find(set_id)
        if found is None or found.type != "Microsoft.Compute/diskEncryptionSets" or found.location != location:
            raise Refusal(404, "NotFound",
                          f"The disk encryption set '{set_id}' was not found in location '{location}'.",
                          "disk.encryption.diskEncryptionSetId")
        return {"type": kind or "EncryptionAtRestWithCustomerKey", "diskEncryptionSetId": found.id}
    if kind and kind != "EncryptionAtRestWithPlatformKey":
        raise invalid("Required parameter 'encryption.diskEncryptionSetId' is missing (null).",
                      "disk.encryption.diskEncryptionSetId")
    return {"type": "EncryptionAtRestWithPlatformKey"}


def source_of(world, creation, kinds):
    """The disk or snapshot that is to be copied."""
    source_id = creation.get("sourceResourceId")
    if not source_id:
        raise invalid("Required parameter 'sourceResourceId' is missing (null).", "creationData.sourceResourceId")
    source = world.find(source_id)
    if source is None or source.type not in kinds:
        raise Refusal(404, "NotFound", f"The source resource '{source_id}' was not found.",
                      "creationData.sourceResourceId")
    state = source.properties["diskState"]
    if source.busy or state in UPLOADING or source.properties["provisioningState"] != "Succeeded":
        raise conflict("OperationNotAllowed", f"'{source.name}' is in state {state}, "
                                              f"{source.properties['provisioningState']}; it cannot be copied.",
                                              "creationData.sourceResourceId")
    return source


def set_size(properties, size_bytes):
    gib = max(properties.get("diskSizeGB") or 0, -(-size_bytes // GIB), 1)
    if properties.get("diskSizeGB") and properties["diskSizeGB"] < -(-size_bytes // GIB):
        raise invalid(f"The specified disk size {properties['diskSizeGB']} GB is smaller than the size of the source.",
                      "disk.diskSizeGB")
    properties["diskSizeGB"] = gib
    properties["diskSizeBytes"] = size_bytes


def _check_sku(body):
    sku = (body.get("sku") or {}).get("name") or "Standard_LRS"
    if body.get("zones") and sku.endswith("_ZRS"):
        raise invalid(f"A disk of type '{sku}' cannot be in a zone.", "zones")
    if sku in ("PremiumV2_LRS", "UltraSSD_LRS"):
        if body["properties"].get("osType"):
            raise invalid(f"A disk of type '{sku}' cannot be an OS disk.", "sku.name")
        if not body.get("zones"):
            raise invalid(f"A disk of type '{sku}' must be in a zone.", "sku.name")
    return {"name": sku, "tier": SKUS[sku]}


def _check_quota(world, location):
    limit = world.quotas.get("disks")
    used = len([d for d in world.of_type(KIND) if d.location == location])
    if limit is not None and used >= limit:
        raise conflict("QuotaExceeded", "Operation could not be completed as it results in exceeding approved disk "
                                        f"quota. Location: {location}, Current Limit: {limit}, Current Usage: {used}, "
                                        "Additional Required: 1.")


def _plan(lab, body, name, location):
    """Checks the creation data; gives work() -> Content, which runs in the operation, or None when there is none."""
    properties = body["properties"]
    creation, option = properties["creationData"], properties["creationData"]["createOption"]
    wanted = {"Import": ("sourceUri", "storageAccountId"), "Copy": ("sourceResourceId",),
              "Upload": ("uploadSizeBytes",)}
    if option not in wanted:
        raise not_simulated(f"createOption '{option}'")
    for key in ("sourceUri", "storageAccountId", "sourceResourceId", "uploadSizeBytes"):
        if creation.get(key) is None and key in wanted[option]:
            raise invalid(f"Required parameter '{key}' is missing (null).", f"disk.creationData.{key}")
        if creation.get(key) is not None and key not in wanted[option]:
            raise invalid(f"Parameter '{key}' is not allowed when 'createOption' is '{option}'.",
                          f"disk.creationData.{key}")
    if option == "Import":
        account, blob, snapshot = content.blob_of(lab.accounts, creation["sourceUri"])
        owner = lab.world.find(creation["storageAccountId"])
        if owner is None or owner.name.lower() != account.name:
            raise invalid("The storage account of 'sourceUri' is not that of 'storageAccountId'.",
                          "disk.creationData.storageAccountId")
        if owner.location != location:
            raise invalid(f"The source blob is in location '{owner.location}', the disk in '{location}'.",
                          "disk.location")
        return lambda: lab.contents.of_blob(account, blob, snapshot, name)
    if option == "Copy":
        source = source_of(lab.world, creation, (KIND, "Microsoft.Compute/snapshots"))
        if source.location != location:
            raise invalid(f"The source is in location '{source.location}', the disk in '{location}'.", "disk.location")
        for key in ("osType", "hyperVGeneration"):
            if source.properties.get(key):
                properties.setdefault(key, source.properties[key])
        return lambda: lab.contents.copy(source.content, name, False)
    size = creation["uploadSizeBytes"]
    if not MIN_UPLOAD_BYTES <= size <= MAX_UPLOAD_BYTES or (size - vhd.FOOTER_BYTES) % vhd.MIB:
        raise invalid(f"The value {size} of 'uploadSizeBytes' is invalid: {MIN_UPLOAD_BYTES} .. {MAX_UPLOAD_BYTES}, a "
                      f"whole number of MiB and {vhd.FOOTER_BYTES} bytes.", "disk.creationData.uploadSizeBytes")
    if properties.get("diskSizeGB"):
        raise invalid("Parameter 'diskSizeGB' is not allowed when 'createOption' is 'Upload'.", "disk.diskSizeGB")
    set_size(properties, size - vhd.FOOTER_BYTES)
    return None


def clean(body, shape):
    """The body without nulls and without what is read-only."""
    if isinstance(body, list):
        return [clean(item, shape.of) for item in body]
    if not isinstance(shape, Fields):
        return body
    return {name: clean(value, shape.fields[name]) for name, value in body.items()
            if value is not None and shape.fields[name] is not IGNORED}


@routes.on("PUT", GROUP + "/providers/" + KIND + "/{name}", versions=VERSIONS, action=KIND + "/write")
def put(request):
    world = request.lab.world
    body = request.json()
    check(DISK_BODY, body)
    check_name(request.params["name"])
    body = clean(body, DISK_BODY)
    with world.lock:
        disk_id, disk = world.named(request, KIND)
        location = world.place(request, body, KIND, disk)
        if disk is not None and (disk.busy or not world.is_broken(disk)):
            return _update(request, disk, body)
        if disk is not None:                # a PUT over one whose creation failed makes it again
            discard(world, disk)
        body["location"], body["sku"] = location, _check_sku(body)
        name, properties = request.params["name"], body["properties"]
        properties["encryption"] = check_encryption(world, properties, location)
        _check_quota(world, location)
        work = _plan(request.lab, body, name, location)
        disk = world.add(Resource(disk_id, KIND, world.group(request), body))
        disk.origin, disk.request = "request", request.json()
        body.update({"name": name, "id": disk_id, "type": KIND, "tags": body.get("tags", {})})
        properties.update({"provisioningState": "Updating", "timeCreated": utc_now(), "uniqueId": str(uuid.uuid4()),
                           "networkAccessPolicy": properties.get("networkAccessPolicy", "AllowAll"),
                           "publicNetworkAccess": properties.get("publicNetworkAccess", "Enabled"),
                           "diskState": "Unattached" if work else "ReadyToUpload"})
        operation = start_creation(request, disk, work)
        return Answer(202, body, operation.headers(request))


def start_creation(request, resource, work):
    world = request.lab.world

    def create():
        made = work() if work else None

        def finish():
            if made:
                resource.content = made
                set_size(resource.properties, made.size_bytes)
            resource.properties["provisioningState"] = "Succeeded"
            return dict(resource.body)
        return finish

    def failed(state):
        resource.properties["provisioningState"] = state
    return world.operations.start(request, DISK, resource.location, create, resource, failed)


def _update(request, disk, body):
    world, old = request.lab.world, disk.body
    if disk.busy:
        if disk.busy.method == "PUT" and disk.busy.body == request.body:
            return Answer(202, old, disk.busy.headers(request))
        world.not_busy(disk)
    for key, value in body["properties"]["creationData"].items():
        if old["properties"]["creationData"].get(key) != value:
            raise conflict("PropertyChangeNotAllowed", f"Changing property 'disk.creationData.{key}' is not allowed.",
                           f"disk.creationData.{key}")
    for key in ("osType", "hyperVGeneration", "encryption"):
        new = body["properties"].get(key)
        if new is not None and {**(old["properties"].get(key) or {}), **new} != old["properties"].get(key) \
                if isinstance(new, dict) else new is not None and new != old["properties"].get(key):
            raise conflict("PropertyChangeNotAllowed", f"Changing property 'disk.{key}' is not allowed.", f"disk.{key}")
    if (body.get("zones") or []) != (old.get("zones") or []):
        raise conflict("PropertyChangeNotAllowed", "Changing property 'zones' is not allowed.", "zones")
    sku = (body.get("sku") or {}).get("name")
    if sku and sku != old["sku"]["name"]:
        if old["properties"]["diskState"] not in ("Unattached", "Reserved"):
            raise conflict("OperationNotAllowed", f"The type of disk '{disk.name}' cannot be changed in state "
                                                  f"{old['properties']['diskState']}.")
        old["sku"] = _check_sku({**old, "sku": {"name": sku}})
    size = body["properties"].get("diskSizeGB")
    if size and size != old["properties"]["diskSizeGB"]:
        raise not_simulated("a new diskSizeGB for a disk that is there")
    old["tags"] = body.get("tags", {})
    return Answer(200, old)


@routes.on("GET", GROUP + "/providers/" + KIND + "/{name}", versions=VERSIONS, action=KIND + "/read")
def get(request):
    with request.lab.world.lock:
        disk_id, disk = request.lab.world.named(request, KIND)
        return Answer(200, (disk or request.lab.world.get(disk_id)).body)


@routes.on("GET", GROUP + "/providers/" + KIND, versions=VERSIONS, action=KIND + "/read")
def list_group(request):
    with request.lab.world.lock:
        group = request.lab.world.group(request)
        return Answer(200, page(request, [d.body for d in request.lab.world.of_type(KIND, group)]))


@routes.on("GET", "/subscriptions/{sub}/providers/" + KIND, versions=VERSIONS, action=KIND + "/read")
def list_all(request):
    with request.lab.world.lock:
        request.lab.world.subscription(request)
        return Answer(200, page(request, [d.body for d in request.lab.world.of_type(KIND)]))


def discard(world, resource):
    """Gone for good, with its bytes; the lock is held."""
    world.remove(resource)
    if resource.content:
        resource.content.remove()
    if resource.grant:
        resource.grant.close()


def may_delete(disk):
    owner = disk.body.get("managedBy")
    if owner:
        raise conflict("OperationNotAllowed", f"Disk '{disk.name}' is attached to VM '{owner}'.")
    if disk.grant:
        raise conflict("OperationNotAllowed", "There is an active shared access signature outstanding for disk "
                                              f"{disk.name}. Call EndGetAccess before deleting the disk.")


def delete_in_operation(request, resource, kind):
    """Every DELETE of ours: 202, gone at the operation's end; a second one while it runs joins the first."""
    world = request.lab.world
    if resource.busy:
        if resource.busy.method == "DELETE":
            return Answer(202, None, resource.busy.headers(request))
        world.not_busy(resource)
    before = resource.properties["provisioningState"]

    def failed(_state):
        resource.properties["provisioningState"] = before
    operation = world.operations.start(request, kind, resource.location, lambda: lambda: discard(world, resource),
                                       resource, failed)
    resource.properties["provisioningState"] = "Deleting"
    return Answer(202, None, operation.headers(request))


@routes.on("DELETE", GROUP + "/providers/" + KIND + "/{name}", versions=VERSIONS, action=KIND + "/delete")
def delete(request):
    with request.lab.world.lock:
        _, disk = request.lab.world.named(request, KIND)
        if disk is None:
            return Answer(204)
        may_delete(disk)
        return delete_in_operation(request, disk, DISK)


# ---- shared access ----

def _check_grant(disk, access):
    state = disk.properties["diskState"]
    if access == "Write" and state not in UPLOADING:
        raise conflict("OperationNotAllowed", f"Write access to '{disk.name}' is only possible while it is created by "
                                              f"upload; it is in state {state}.")
    if access == "Read" and state not in ("Unattached", "ActiveSAS", "Reserved"):
        raise conflict("OperationNotAllowed", f"Read access to '{disk.name}' is not possible in state {state}.")


@routes.on("POST", GROUP + "/providers/" + KIND + "/{name}/beginGetAccess", versions=VERSIONS,
           action=KIND + "/beginGetAccess/action")
def begin_access(request):
    return grant(request, KIND)


def grant(request, kind):
    lab, body = request.lab, request.json()
    check(ACCESS_BODY, body)
    seconds, access = body["durationInSeconds"], body["access"]
    if not 1 <= seconds <= MAX_ACCESS_S:
        raise invalid(f"The value {seconds} of 'durationInSeconds' is invalid: 1 .. {MAX_ACCESS_S}.",
                      "durationInSeconds")
    if access == "None" or body.get("fileFormat") == "VHDX":
        raise not_simulated("access 'None', fileFormat 'VHDX'")
    with lab.world.lock:
        disk_id, disk = lab.world.named(request, kind)
        disk = disk or lab.world.get(disk_id)
        lab.world.not_busy(disk)
        _check_grant(disk, access)
        if lab.managed is None or (access == "Read" and not disk.content.path):
            raise not_simulated("SAS without 'managed_account', or reading without --disks")

        def work():
            return _grant(lab, disk, access, time.time() + seconds)
        operation = lab.world.operations.start(request, DISK, disk.location, work, disk)
        return Answer(202, None, operation.headers(request))


def _grant(lab, disk, access, end_s):
    try:
        if disk.grant is None:
            new = content.Grant(lab.managed, access, disk.properties["diskSizeBytes"] + vhd.FOOTER_BYTES)
            new.open(disk.content)
            disk.grant = new
        address = disk.grant.address(end_s)
    except (OSError, content.BlobError) as error:
        raise content.unreachable(lab.managed, error) from None

    def finish():
        disk.properties["diskState"] = "ActiveUpload" if access == "Write" else "ActiveSAS"
        return {"accessSAS": address}
    return finish


@routes.on("POST", GROUP + "/providers/" + KIND + "/{name}/endGetAccess", versions=VERSIONS,
           action=KIND + "/endGetAccess/action")
def end_access(request):
    return revoke(request, KIND)


def revoke(request, kind):
    lab = request.lab
    if request.body:
        raise Refusal(400, "InvalidRequestContent", "The request content was invalid: no body is expected.")
    with lab.world.lock:
        disk_id, disk = lab.world.named(request, kind)
        disk = disk or lab.world.get(disk_id)
        if disk.busy and disk.busy.path.endswith("/endGetAccess"):
            return Answer(202, None, disk.busy.headers(request))
        lab.world.not_busy(disk)
        if disk.grant is None:
            return Answer(200)
        operation = lab.world.operations.start(request, DISK, disk.location, lambda: _revoke(lab, disk), disk)
        return Answer(202, None, operation.headers(request))


def _revoke(lab, disk):
    """The bytes of an upload are taken; what is no VHD leaves the disk in upload."""
    grant_now, made = disk.grant, None
    try:
        if grant_now.access == "Write":
            made = lab.contents.of_blob(grant_now.account, grant_now.blob, None, disk.name)
        grant_now.close()
    except (OSError, content.BlobError) as error:
        raise content.unreachable(lab.managed, error) from None

    def finish():
        if made:
            disk.content = made
        disk.grant = None
        disk.properties["diskState"] = "Reserved" if disk.body.get("managedBy") else "Unattached"
    return finish
