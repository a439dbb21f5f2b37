# SPDX-License-Identifier: Apache-2.0
"""VM sizes of the simulated regions, with the figures that their public documentation gives."""

# name: family, vCPUs, memory GiB, data disks, NICs, generations, premium disks, accelerated networking
TABLE = {
    "Standard_A2_v2": ("standardAv2Family", 2, 4, 4, 2, "V1", False, False),
    "Standard_B1ms": ("standardBSFamily", 1, 2, 2, 2, "V1,V2", True, False),
    "Standard_B2s": ("standardBSFamily", 2, 4, 4, 3, "V1,V2", True, False),
    "Standard_B4ms": ("standardBSFamily", 4, 16, 8, 4, "V1,V2", True, False),
    "Standard_D2_v5": ("standardDv5Family", 2, 8, 4, 2, "V1,V2", False, True),
    "Standard_D2s_v5": ("standardDSv5Family", 2, 8, 4, 2, "V1,V2", True, True),
    "Standard_D4s_v5": ("standardDSv5Family", 4, 16, 8, 2, "V1,V2", True, True),
    "Standard_D8s_v5": ("standardDSv5Family", 8, 32, 16, 4, "V1,V2", True, True),
    "Standard_D16s_v5": ("standardDSv5Family", 16, 64, 32, 8, "V1,V2", True, True),
    "Standard_D32s_v5": ("standardDSv5Family", 32, 128, 32, 8, "V1,V2", True, True),
    "Standard_E2s_v5": ("standardESv5Family", 2, 16, 4, 2, "V1,V2", True, True),
    "Standard_E8s_v5": ("standardESv5Family", 8, 64, 16, 4, "V1,V2", True, True),
    "Standard_E64s_v5": ("standardESv5Family", 64, 512, 32, 8, "V1,V2", True, True),
    "Standard_F4s_v2": ("standardFSv2Family", 4, 8, 8, 2, "V1,V2", True, True),
    "Standard_DC2s_v3": ("standardDCSv3Family", 2, 16, 4, 2, "V2", True, True),
    "Standard_M64": ("standardMSFamily", 64, 1024, 64, 8, "V1,V2", True, True),
}


class Size:
    def __init__(self, name):
        self.name = name
        (self.family, self.cpus, self.memory_gib, self.max_data_disks, self.max_nics, generations, self.premium,
         self.accelerated) = TABLE[name]
        self.generations = generations.split(",")

    def sku(self, location, restricted_zones):
        """As Microsoft.Compute/skus lists it. restricted_zones: "all", or a list."""
        def capability(name, value):
            return {"name": name, "value": str(value)}
        restrictions = []
        if restricted_zones == "all":
            restrictions = [{"type": "Location", "values": [location], "restrictionInfo": {"locations": [location]},
                             "reasonCode": "NotAvailableForSubscription"}]
        elif restricted_zones:
            restrictions = [{"type": "Zone", "values": [location], "reasonCode": "NotAvailableForSubscription",
                             "restrictionInfo": {"locations": [location], "zones": restricted_zones}}]
        return {"resourceType": "virtualMachines", "name": self.name, "tier": "Standard",
                "size": self.name.split("_", 1)[1],
                "family": self.family, "locations": [location],
                "locationInfo": [{"location": location, "zones": ["1", "2", "3"], "zoneDetails": []}],
                "capabilities": [capability("MaxResourceVolumeMB", 0), capability("OSVhdSizeMB", 1047552),
                                 capability("vCPUs", self.cpus),
                                 capability("MemoryPreservingMaintenanceSupported", True),
                                 capability("HyperVGenerations", ",".join(self.generations)),
                                 capability("MemoryGB", self.memory_gib),
                                 capability("MaxDataDiskCount", self.max_data_disks),
                                 capability("CpuArchitectureType", "x64"), capability("LowPriorityCapable", True),
                                 capability("PremiumIO", self.premium), capability("vCPUsAvailable", self.cpus),
                                 capability("EncryptionAtHostSupported", True),
                                 capability("AcceleratedNetworkingEnabled", self.accelerated),
                                 capability("MaxNetworkInterfaces", self.max_nics)],
                "restrictions": restrictions}

    def listed(self):
        """As locations/{l}/vmSizes lists it."""
        return {"name": self.name, "numberOfCores": self.cpus, "osDiskSizeInMB": 1047552, "resourceDiskSizeInMB": 0,
                "memoryInMB": self.memory_gib * 1024, "maxDataDiskCount": self.max_data_disks}


SIZES = {name: Size(name) for name in TABLE}
BY_LOWER_NAME = {name.lower(): size for name, size in SIZES.items()}
