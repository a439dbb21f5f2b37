# SPDX-License-Identifier: Apache-2.0
"""All resources of the one subscription, by id (case-insensitive, as Resource Manager is), and the lock over them."""
import re
import threading
import time
import urllib.parse

from .operations import Operations, utc_now
from .refusal import Refusal, conflict, invalid, not_found

GROUP = "/subscriptions/{sub}/resourceGroups/{group}"
TOP_LEVEL = re.compile(r"/subscriptions/([^/]+)(?:/resourceGroups/([^/]+)(?:/providers/([^/]+/[^/]+)/([^/]+)(/.+)?)?)?",
                       re.IGNORECASE)


class Resource:
    """body is what GET shows; the rest is the simulator's own."""

    def __init__(self, resource_id, kind, group, body):
        self.id, self.type, self.group, self.body = resource_id, kind, group, body
        self.name = resource_id.rsplit("/", 1)[1]
        self.busy = None                    # the operation that runs on it
        self.request = None                 # body of the request that made it
        self.origin = "configuration"       # or "request", or "control": how it came to be
        self.made_s = time.time()
        self.content = None                 # content.Content of a disk or snapshot
        self.grant = None                   # content.Grant while a SAS is out
        self.power, self.process, self.vm_id, self.diagnostics_key = None, None, None, None       # of a VM

    @property
    def properties(self):
        return self.body["properties"]

    @property
    def location(self):
        return self.body.get("location", "")


class World:
    def __init__(self, lab):
        self.lab, self.config, self.lock = lab, lab.config, threading.RLock()
        self.operations = Operations(lab)
        self.groups, self._resources, self.used_addresses = {}, {}, {}
        for group in self.config["resource_groups"]:
            self.groups[group["name"].lower()] = group
        self.quotas = dict(self.config["quotas"])

    def group(self, request):
        """Name of the resource group of the path as it was made."""
        self.subscription(request)
        group = self.groups.get(request.params["group"].lower())
        if group is None:
            raise Refusal(404, "ResourceGroupNotFound", f"Resource group '{request.params['group']}' could not be "
                                                        "found.")
        return group["name"]

    def subscription(self, request):
        if request.params["sub"].lower() != self.config["subscription"].lower():
            raise Refusal(404, "SubscriptionNotFound",
                          f"The subscription '{request.params['sub']}' could not be found.")

    def check_scope(self, scope):
        match = TOP_LEVEL.fullmatch(scope)
        if match is None:
            raise Refusal(400, "InvalidScope", f"The scope '{scope}' is not one that the simulator knows.")
        if match[2] and match[2].lower() not in self.groups:
            raise Refusal(404, "ResourceGroupNotFound", f"Resource group '{match[2]}' could not be found.")
        if match[4] and not match[5]:
            self.get(scope)

    def id_of(self, group, kind, name):
        return f"/subscriptions/{self.config['subscription']}/resourceGroups/{group}/providers/{kind}/{name}"

    def find(self, resource_id):
        return self._resources.get(resource_id.rstrip("/").lower())

    def get(self, resource_id):
        resource = self.find(resource_id)
        if resource is None:
            raise not_found(resource_id)
        return resource

    def named(self, request, kind):
        """(id, resource or None) of the path's group and name."""
        group = self.group(request)
        resource = self.find(self.id_of(group, kind, request.params["name"]))
        return (resource.id if resource else self.id_of(group, kind, request.params["name"])), resource

    def add(self, resource):
        self._resources[resource.id.lower()] = resource
        return resource

    def remove(self, resource):
        self._resources.pop(resource.id.lower(), None)

    def of_type(self, kind, group=None):
        return [r for r in self._resources.values() if r.type == kind
                and (group is None or r.group.lower() == group.lower())]

    def all(self, group=None):
        return [r for r in self._resources.values() if group is None or r.group.lower() == group.lower()]

    def place(self, request, body, kind, resource):
        """Location and zones of a body: known ones, and not another than the existing resource's."""
        location = body["location"].replace(" ", "").lower()
        if location not in self.config["locations"]:
            raise Refusal(400, "LocationNotAvailableForResourceType", f"The provided location '{body['location']}' is "
                          f"not available for resource type '{kind}'. List of available regions for the resource type "
                          f"is '{','.join(self.config['locations'])}'.")
        if resource is not None and resource.location != location:
            raise conflict("InvalidResourceLocation", f"The resource '{resource.name}' already exists in location "
                                                      f"'{resource.location}' in resource group '{resource.group}'. A "
                                                      "resource with the same name cannot be created in location "
                                                      f"'{location}'. Please select a new resource name.")
        zones = body.get("zones") or []
        if any(zone not in ("1", "2", "3") for zone in zones) or len(zones) > 1:
            raise invalid(f"The zone(s) '{','.join(zones)}' for resource '{request.params['name']}' is not supported.",
                          "zones")
        return location

    @staticmethod
    def is_broken(resource):
        """Its creation failed."""
        return resource.properties.get("provisioningState") in ("Failed", "Canceled")

    def not_busy(self, resource):
        if resource.busy:
            raise conflict("AnotherOperationInProgress", f"Another operation '{resource.busy.id}' is in progress on "
                                                         f"the resource '{resource.id}'.")


def page(request, items):
    """{"value", "nextLink"}: a listing in pages of the configured length."""
    size = request.lab.config["page_items"]
    token = request.query.get("$skiptoken", "0")
    if not token.isdigit():
        raise Refusal(400, "InvalidSkipToken", f"The skip token '{token}' is invalid.")
    start = int(token)
    answer = {"value": items[start:start + size]}
    if start + size < len(items):
        query = {**request.query, "$skiptoken": str(start + size)}
        answer["nextLink"] = f"{request.base_url}{urllib.parse.quote(request.path)}?{urllib.parse.urlencode(query)}"
    return answer


__all__ = ["GROUP", "Resource", "World", "page", "utc_now"]
