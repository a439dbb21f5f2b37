# SPDX-License-Identifier: Apache-2.0
"""What a new virtual machine must be like: its body, its size, disks, network interfaces and quotas. Everything that
the service checks before it accepts; the lock is held."""
import re

from . import disks, network, sizes
from .refusal import Refusal, conflict, invalid, not_simulated
from .shapes import FLAG, NUMBER, REFERENCE, RESOURCE, TAGS, TEXT, Choice, Fields, Items

KIND = "Microsoft.Compute/virtualMachines"
MAX_OS_DISK_GIB = 4096
DELETE_OPTION = Choice("Delete", "Detach")
CACHING = Choice("None", "ReadOnly", "ReadWrite")
MANAGED_DISK = Fields("ManagedDiskParameters", not_done=("diskEncryptionSet", "securityProfile"),
                      ignored=("storageAccountType",), id=TEXT)
ATTACHED = {"createOption": Choice("Attach", "Empty", "FromImage", "Copy", "Restore"), "managedDisk": MANAGED_DISK,
            "caching": CACHING,
            "deleteOption": DELETE_OPTION, "name": TEXT}
OS_DISK = Fields("OSDisk", required=("createOption",), ignored=("diskSizeGB",), osType=Choice("Windows", "Linux"),
                 not_done=("encryptionSettings", "vhd", "image", "writeAcceleratorEnabled", "diffDiskSettings"),
                 **ATTACHED)
DATA_DISK = Fields("DataDisk", required=("lun", "createOption"),
                   ignored=("diskSizeGB", "diskIOPSReadWrite", "diskMBpsReadWrite"),
                   not_done=("vhd", "image", "writeAcceleratorEnabled", "sourceResource", "detachOption"), lun=NUMBER,
                   toBeDetached=FLAG, **ATTACHED)
NIC_REFERENCE = Fields("NetworkInterfaceReference", required=("id",), id=TEXT,
                       properties=Fields("NetworkInterfaceReferenceProperties", primary=FLAG,
                                         deleteOption=DELETE_OPTION))
BODY = Fields("VirtualMachine", required=("location", "properties"), ignored=(*RESOURCE, "resources", "managedBy"),
              not_done=("plan", "identity", "extendedLocation", "placement"), location=TEXT, tags=TAGS,
              zones=Items(TEXT),
              properties=Fields(
                  "VirtualMachineProperties", required=("hardwareProfile", "storageProfile", "networkProfile"),
                  ignored=("provisioningState", "vmId", "timeCreated", "instanceView"),
                  not_done=("scheduledEventsPolicy", "additionalCapabilities", "virtualMachineScaleSet", "priority",
                            "evictionPolicy",
                            "billingProfile", "host", "hostGroup", "extensionsTimeBudget", "platformFaultDomain",
                            "scheduledEventsProfile", "userData", "capacityReservation", "applicationProfile",
                            "securityProfile"),
                  osProfile=Fields("OSProfile", not_done=("computerName", "adminUsername", "adminPassword",
                                                          "customData", "secrets",
                                                          "linuxConfiguration", "windowsConfiguration",
                                                          "allowExtensionOperations",
                                                          "requireGuestProvisionSignal")),
                  hardwareProfile=Fields("HardwareProfile", required=("vmSize",), not_done=("vmSizeProperties",),
                                         vmSize=TEXT),
                  storageProfile=Fields("StorageProfile", required=("osDisk",), not_done=("imageReference",),
                                        osDisk=OS_DISK,
                                        dataDisks=Items(DATA_DISK), diskControllerType=Choice("SCSI", "NVMe")),
                  networkProfile=Fields("NetworkProfile",
                                        not_done=("networkInterfaceConfigurations", "networkApiVersion"),
                                        networkInterfaces=Items(NIC_REFERENCE)),
                  diagnosticsProfile=Fields("DiagnosticsProfile",
                                            bootDiagnostics=Fields("BootDiagnostics", not_done=("storageUri",),
                                                                                         enabled=FLAG)),
                  availabilitySet=REFERENCE, proximityPlacementGroup=REFERENCE,
                  licenseType=Choice("Windows_Server", "Windows_Client", "RHEL_BYOS", "SLES_BYOS", "UBUNTU_PRO",
                                     "None")))


def check_name(name):
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9_])?", name) or name.isdigit():
        raise invalid(f"The entity name '{name}' is invalid: up to 64 characters of letters, digits, '_', '.' and '-', "
                      "not ending in '.' or '-', not digits alone.", "vmName")


def size_of(lab, name, location, zones):
    size = sizes.BY_LOWER_NAME.get(name.lower())
    if size is None:
        raise invalid(f"The value {name} provided for the VM size is not valid. The valid sizes in the current region "
                      f"are: {', '.join(sizes.SIZES)}.", "vmSize")
    struck = lab.faults.strikes("vm.not_available")
    restricted = lab.config["restrictions"].get(size.name, [])
    if restricted == "all" or any(zone in restricted
                                  for zone in zones) or (struck and struck["size"] in (None, size.name)):
        raise conflict("SkuNotAvailable", "The requested VM size for resource 'Following SKUs have failed for "
                                          f"Capacity Restrictions: {size.name}' is currently not available in location "
                                          f"'{location}'. Please try another size or deploy to a different location or "
                                          "different zone. See https://aka.ms/azureskunotavailable for details.",
                       "vmSize")
    return size


def check_cores(world, size, location, limit_of_family, used):
    for name, limit in (("cores", world.quotas.get("cores")), (size.family, limit_of_family)):
        in_use = used.get(name, 0)
        if limit is not None and in_use + size.cpus > limit:
            label = "Total Regional Cores" if name == "cores" else f"{name} Cores"
            raise conflict("OperationNotAllowed", "Operation could not be completed as it results in exceeding "
                                                  f"approved {label} quota. Additional details - Deployment Model: "
                                                  f"Resource Manager, Location: {location}, Current Limit: {limit}, "
                                                  f"Current Usage: {in_use}, Additional Required: {size.cpus}, "
                                                  f"(Minimum) New Limit Required: {in_use + size.cpus}.")


def check_disk(world, body, item, vm_id, what):
    """The disk that is to be attached."""
    if item["createOption"] != "Attach":
        raise not_simulated(f"createOption '{item['createOption']}' of a VM's {what}")
    disk_id = (item.get("managedDisk") or {}).get("id")
    if not disk_id:
        raise invalid("Required parameter 'managedDisk.id' is missing (null).", f"{what}.managedDisk.id")
    disk = world.find(disk_id)
    if disk is None or disk.type != disks.KIND:
        raise Refusal(404, "NotFound", f"Disk '{disk_id}' was not found.", f"{what}.managedDisk.id")
    state, owner = disk.properties["diskState"], disk.body.get("managedBy")
    if owner and owner.lower() != vm_id.lower():
        raise conflict("ConflictingUserInput", f"Disk '{disk.id}' cannot be attached as the disk is already owned by "
                                               f"VM '{owner}'.",
                       f"{what}.managedDisk.id")
    if disk.busy or disk.properties["provisioningState"] != "Succeeded" or (state not in ("Unattached",) and not owner):
        raise conflict("OperationNotAllowed", f"Disk '{disk.id}' cannot be attached in state {state}, provisioning "
                                              f"state {disk.properties['provisioningState']}.",
                                              f"{what}.managedDisk.id")
    if disk.location != body["location"]:
        raise invalid(f"Disk '{disk.name}' is in location '{disk.location}', the VM in '{body['location']}'.",
                      f"{what}.managedDisk.id")
    zones, is_zonal = disk.body.get("zones") or [], not disk.body["sku"]["name"].endswith("_ZRS")
    if is_zonal and zones != (body.get("zones") or []):
        raise invalid(f"Disk '{disk.name}' is in zone '{','.join(zones)}', the VM in zone "
                      f"'{','.join(body.get('zones') or [])}'; a VM and its disks must be in the same one.",
                      f"{what}.managedDisk.id")
    if item.get("name") not in (None, disk.name):
        raise invalid(f"The name '{item['name']}' is not that of the attached disk '{disk.name}'.", f"{what}.name")
    return disk


def check_disks(world, body, vm_id, size):
    """[OS disk, data disks in the order of their LUNs]"""
    profile = body["properties"]["storageProfile"]
    os_item, items = profile["osDisk"], profile.get("dataDisks") or []
    os_disk = check_disk(world, body, os_item, vm_id, "osDisk")
    if not os_item.get("osType"):
        raise invalid("Required parameter 'osDisk.osType' is missing (null).", "osDisk.osType")
    if os_disk.properties.get("osType") not in (None, os_item["osType"]):
        raise invalid(f"'osDisk.osType' is {os_item['osType']}, that of disk '{os_disk.name}' is "
                      f"{os_disk.properties['osType']}.",
                      "osDisk.osType")
    if os_disk.properties["diskSizeGB"] > MAX_OS_DISK_GIB:
        raise invalid(f"The OS disk '{os_disk.name}' is larger than {MAX_OS_DISK_GIB} GB.", "osDisk")
    generation = os_disk.properties.get("hyperVGeneration", "V1")
    if generation not in size.generations:
        raise Refusal(400, "BadRequest", f"The selected VM size '{size.name}' cannot boot Hypervisor Generation "
                                         f"'{generation[1:]}'. If this was a Create operation please check that the "
                                         "Hypervisor Generation of the Image matches the Hypervisor Generation of the "
                                         "selected VM Size.")
    if len(items) > size.max_data_disks:
        raise conflict("OperationNotAllowed", "The maximum number of data disks allowed to be attached to a VM of "
                                              f"this size is {size.max_data_disks}.", "dataDisks")
    found, luns = [os_disk], set()
    for item in sorted(items, key=lambda i: i["lun"]):
        if item.get("toBeDetached"):
            raise not_simulated("toBeDetached")
        if not 0 <= item["lun"] <= 63 or item["lun"] in luns:
            raise invalid(f"The LUN {item['lun']} is out of range or used twice.", "dataDisk.lun")
        luns.add(item["lun"])
        found.append(check_disk(world, body, item, vm_id, "dataDisk"))
    if len({disk.id.lower() for disk in found}) != len(found):
        raise invalid("A disk is attached twice.", "dataDisks")
    for disk in found:
        if disks.SKUS[disk.body["sku"]["name"]] != "Standard" and not size.premium:
            raise invalid("Requested operation cannot be performed because storage account type "
                          f"'{disk.body['sku']['name']}' is not supported for VM size '{size.name}'.",
                          "managedDisk.storageAccountType")
    return found


def check_nics(world, body, vm_id, size):
    """[(network interface, whether primary)]"""
    items = body["properties"]["networkProfile"].get("networkInterfaces") or []
    if not items:
        raise invalid("A virtual machine needs a network interface.", "networkProfile")
    if len(items) > size.max_nics:
        raise invalid("The number of network interfaces for virtual machine exceeds the maximum allowed for the "
                      f"virtual machine size {size.name}: {size.max_nics}.", "networkProfile")
    primary = [i for i in items if (i.get("properties") or {}).get("primary")]
    if len(items) > 1 and len(primary) != 1:
        raise Refusal(400, "VirtualMachineMustHaveOneNetworkInterfaceAsPrimary",
                      f"Virtual machine {vm_id} must have one network interface set as the primary.")
    found = []
    for item in items:
        nic = world.find(item["id"])
        if nic is None or nic.type != network.KIND or nic.location != body["location"]:
            raise network.missing_reference(item["id"], vm_id)
        owner = (nic.properties.get("virtualMachine") or {}).get("id")
        if owner and owner.lower() != vm_id.lower():
            raise Refusal(400, "NicInUse", f"Network Interface {nic.id} is used by existing resource {owner}.")
        if nic.busy or nic.properties["provisioningState"] != "Succeeded":
            raise Refusal(400, "ReferencedResourceNotProvisioned", "Cannot proceed with operation because resource "
                          f"{nic.id} used by resource {vm_id} is not in Succeeded state.")
        if nic.properties["enableAcceleratedNetworking"] and not size.accelerated:
            raise Refusal(400, "VMSizeIsNotPermittedToEnableAcceleratedNetworking",
                          f"VM size {size.name} does not support accelerated networking of {nic.id}.")
        found.append((nic, len(items) == 1 or item in primary))
    if len({nic.id.lower() for nic, _ in found}) != len(found):
        raise invalid("A network interface is given twice.", "networkProfile")
    return found


def check_placement(world, body):
    properties = body["properties"]
    for key, kind in (("availabilitySet", "availabilitySets"), ("proximityPlacementGroup", "proximityPlacementGroups")):
        resource_id = (properties.get(key) or {}).get("id")
        if not resource_id:
            continue
        found = world.find(resource_id)
        if found is None or found.type != f"Microsoft.Compute/{kind}" or found.location != body["location"]:
            raise Refusal(404, "NotFound", f"The entity '{resource_id}' was not found in this location.", key)
        if key == "availabilitySet" and body.get("zones"):
            raise invalid("A virtual machine can be in a zone or in an availability set, not in both.", "zones")
    if properties.get("licenseType",
                      "").startswith("Windows") and properties["storageProfile"]["osDisk"].get("osType") != "Windows":
        raise invalid(f"License type '{properties['licenseType']}' is for Windows only.", "licenseType")
    if properties.get("osProfile") is not None:
        raise invalid("Parameter 'osProfile' is not allowed.", "osProfile")
