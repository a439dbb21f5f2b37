# SPDX-License-Identifier: Apache-2.0
"""What a subscription has and allows: resource groups and their resources, sizes, quotas, storage accounts."""
import re

from . import disks, machines
from .refusal import Refusal, not_found, not_simulated
from .server import Answer, Routes
from .sizes import SIZES
from .world import GROUP, page

RESOURCES = ("2021-04-01", "2022-09-01", "2024-03-01", "2024-07-01", "2025-04-01")
SUBSCRIPTIONS = ("2022-12-01", "2020-01-01", "2021-01-01", "2016-06-01")
SKUS = ("2021-07-01", "2019-04-01")
STORAGE = ("2023-05-01", "2023-01-01", "2024-01-01", "2022-09-01")
ACCOUNT = "Microsoft.Storage/storageAccounts"
SUB = "/subscriptions/{sub}"
CONDITION = re.compile(r"\s*(tagName|tagValue|resourceType|location|name)\s+eq\s+'((?:[^']|'')*)'\s*", re.IGNORECASE)
routes = Routes()


def _subscription(config):
    return {"id": f"/subscriptions/{config['subscription']}", "subscriptionId": config["subscription"],
            "tenantId": config["tenant"],
            "displayName": "Simulated", "state": "Enabled", "authorizationSource": "RoleBased",
            "subscriptionPolicies": {"locationPlacementId": "Public_2014-09-01", "quotaId": "PayAsYouGo_2014-09-01",
                                     "spendingLimit": "Off"}}


@routes.on("GET", "/subscriptions", versions=SUBSCRIPTIONS)
def subscriptions(request):
    return Answer(200, {"value": [_subscription(request.lab.config)], "count": {"type": "Total", "value": 1}})


@routes.on("GET", SUB, versions=SUBSCRIPTIONS, action="Microsoft.Resources/subscriptions/read")
def subscription(request):
    request.lab.world.subscription(request)
    return Answer(200, _subscription(request.lab.config))


def _group(config, group):
    return {"id": f"/subscriptions/{config['subscription']}/resourceGroups/{group['name']}", "name": group["name"],
            "type": "Microsoft.Resources/resourceGroups", "location": group["location"], "tags": group["tags"],
            "properties": {"provisioningState": "Succeeded"}}


@routes.on("GET", SUB + "/resourceGroups", versions=RESOURCES,
           action="Microsoft.Resources/subscriptions/resourceGroups/read")
def resource_groups(request):
    world = request.lab.world
    world.subscription(request)
    if request.query.get("$filter"):
        raise not_simulated("$filter of resource groups")
    return Answer(200, page(request, [_group(world.config, g) for g in world.groups.values()]))


@routes.on("GET", GROUP, versions=RESOURCES, action="Microsoft.Resources/subscriptions/resourceGroups/read")
def resource_group(request):
    world = request.lab.world
    return Answer(200, _group(world.config, world.groups[world.group(request).lower()]))


def _conditions(text):
    """{"tagname": .., "tagvalue": ..} of a $filter; tags go alone, as the service wants it."""
    found = {}
    for part in re.split(r"\s+and\s+", text or "", flags=re.IGNORECASE) if text else []:
        match = CONDITION.fullmatch(part)
        if match is None:
            raise Refusal(400, "InvalidFilterInQueryString", f"Invalid $filter '{text}' specified in the query string; "
                                                             "the simulator knows eq and and, for tagName, tagValue, "
                                                             "resourceType, location and name.")
        found[match[1].lower()] = match[2].replace("''", "'")
    if "tagvalue" in found and "tagname" not in found or {"tagname", "resourcetype"} <= set(found):
        raise Refusal(400, "InvalidFilterInQueryString", "tagValue needs tagName, and filters by tag stand alone.")
    return found


def _matches(resource, wanted):
    tags = {name.lower(): value for name, value in resource.body.get("tags", {}).items()}
    if "tagname" in wanted:
        if wanted["tagname"].lower() not in tags:
            return False
        if "tagvalue" in wanted and tags[wanted["tagname"].lower()] != wanted["tagvalue"]:
            return False
    return all(wanted.get(key, value.lower()).lower() == value.lower() for key, value in
               (("resourcetype", resource.type), ("location", resource.location), ("name", resource.name)))


def _listed(resource):
    body = resource.body
    return {key: body[key] for key in ("id", "name", "type", "location", "tags", "sku", "zones", "managedBy", "kind")
            if key in body}


def _list(request, group):
    for name in request.query:
        if name not in ("api-version", "$filter", "$top", "$skiptoken", "$expand"):
            raise Refusal(400, "InvalidQueryParameter", f"The query parameter '{name}' is not known.")
    if request.query.get("$top") or request.query.get("$expand"):
        raise not_simulated("$top, $expand of a listing of resources")
    wanted = _conditions(request.query.get("$filter"))
    return Answer(200, page(request, [_listed(r) for r in request.lab.world.all(group) if _matches(r, wanted)]))


@routes.on("GET", GROUP + "/resources", versions=RESOURCES,
           action="Microsoft.Resources/subscriptions/resourceGroups/resources/read")
def resources_of_group(request):
    with request.lab.world.lock:
        return _list(request, request.lab.world.group(request))


@routes.on("GET", SUB + "/resources", versions=RESOURCES, action="Microsoft.Resources/subscriptions/resources/read")
def resources(request):
    with request.lab.world.lock:
        request.lab.world.subscription(request)
        return _list(request, None)


# ---- sizes and quotas ----

def _location(request):
    request.lab.world.subscription(request)
    location = request.params["location"].lower()
    if location not in request.lab.config["locations"]:
        raise Refusal(400, "NoRegisteredProviderFound", "No registered resource provider found for location "
                                                        f"'{location}'.")
    return location


@routes.on("GET", SUB + "/providers/Microsoft.Compute/skus", versions=SKUS, action="Microsoft.Compute/skus/read")
def skus(request):
    request.lab.world.subscription(request)
    text = request.query.get("$filter")
    match = re.fullmatch(r"\s*location\s+eq\s+'([a-z0-9]+)'\s*", text or "", re.IGNORECASE)
    if text and match is None:
        raise Refusal(400, "InvalidFilter", f"The filter '{text}' is invalid; only location eq '..' is supported.")
    locations = request.lab.config["locations"] if match is None else [m for m in request.lab.config["locations"]
                                                                       if m == match[1].lower()]
    restrictions = request.lab.config["restrictions"]
    listed = [size.sku(location, restrictions.get(size.name, [])) for location in locations for size in SIZES.values()]
    for location in locations:
        listed += [{"resourceType": "disks", "name": name, "tier": tier, "size": "P10", "locations": [location],
                    "capabilities": [],
                    "locationInfo": [{"location": location, "zones": ["1", "2", "3"], "zoneDetails": []}],
                    "restrictions": []}
                   for name, tier in disks.SKUS.items()]
    return Answer(200, page(request, listed))


@routes.on("GET", SUB + "/providers/Microsoft.Compute/locations/{location}/vmSizes", versions=machines.VERSIONS,
           action="Microsoft.Compute/locations/vmSizes/read")
def vm_sizes(request):
    _location(request)
    return Answer(200, {"value": [size.listed() for size in SIZES.values()]})


@routes.on("GET", SUB + "/providers/Microsoft.Compute/locations/{location}/usages", versions=machines.VERSIONS,
           action="Microsoft.Compute/locations/usages/read")
def usages(request):
    world = request.lab.world
    with world.lock:
        location = _location(request)
        used = machines.cores_in_use(world, location)

        def usage(name, label, value, limit):
            return {"unit": "Count", "currentValue": value, "limit": 100000 if limit is None else limit,
                    "name": {"value": name, "localizedValue": label}}
        listed = [usage("cores", "Total Regional vCPUs", used["cores"], world.quotas.get("cores")),
                  usage("virtualMachines", "Virtual Machines",
                        len([v for v in world.of_type(machines.KIND) if v.location == location]), 25000),
                  usage("disks", "Disks", len([d for d in world.of_type(disks.KIND) if d.location == location]),
                        world.quotas.get("disks"))]
        for family in dict.fromkeys(size.family for size in SIZES.values()):
            label = family.removeprefix("standard").removesuffix("Family")
            listed.append(usage(family, f"Standard {label} Family vCPUs", used.get(family, 0),
                                world.quotas.get(family)))
        return Answer(200, page(request, listed))


# ---- storage accounts ----

@routes.on("GET", GROUP + "/providers/" + ACCOUNT + "/{name}", versions=STORAGE, action=ACCOUNT + "/read")
def storage_account(request):
    with request.lab.world.lock:
        account_id, account = request.lab.world.named(request, ACCOUNT)
        if account is None:
            raise not_found(account_id, request.params["group"])
        return Answer(200, account.body)


@routes.on("GET", GROUP + "/providers/" + ACCOUNT, versions=STORAGE, action=ACCOUNT + "/read")
def storage_accounts(request):
    with request.lab.world.lock:
        group = request.lab.world.group(request)
        return Answer(200, {"value": [a.body for a in request.lab.world.of_type(ACCOUNT, group)]})


@routes.on("GET", SUB + "/providers/" + ACCOUNT, versions=STORAGE, action=ACCOUNT + "/read")
def all_storage_accounts(request):
    with request.lab.world.lock:
        return Answer(200, {"value": [a.body for a in request.lab.world.of_type(ACCOUNT)]})
