# SPDX-License-Identifier: Apache-2.0
"""Methods of the managers: service content, sessions, views, property collector, search, privileges, tickets."""
from . import collector
from .collector import Collector, Filter
from .model import Entity, Host, escaped
from .sessions import KNOWN_PRIVILEGES
from .soap import Raw, method
from .tasks import Task, utc
from .vimfault import VimFault, invalid_argument, not_found
from .vimtypes import TABLE, Data, Ref, declare_method, encode

MANAGERS = {                                # field of ServiceContent: (type, moref in vCenter, moref on a host)
    "propertyCollector": ("PropertyCollector", "propertyCollector", "ha-property-collector"),
    "viewManager": ("ViewManager", "ViewManager", "ViewManager"),
    "sessionManager": ("SessionManager", "SessionManager", "ha-sessionmgr"),
    "authorizationManager": ("AuthorizationManager", "AuthorizationManager", "ha-authmgr"),
    "taskManager": ("TaskManager", "TaskManager", "ha-taskmgr"),
    "searchIndex": ("SearchIndex", "SearchIndex", "ha-searchindex"),
}
NAMES_ONLY = {                              # named by the service content, without methods here
    "alarmManager": ("AlarmManager", "AlarmManager", None),
    "eventManager": ("EventManager", "EventManager", "ha-eventmgr"),
    "perfManager": ("PerformanceManager", "PerfMgr", "ha-perfmgr"),
    "fileManager": ("FileManager", "FileManager", "ha-nfc-file-manager"),
    "virtualDiskManager": ("VirtualDiskManager", "virtualDiskManager", "ha-vdiskmanager"),
    "licenseManager": ("LicenseManager", "LicenseManager", "ha-license-manager"),
}
declare_method("RetrieveInternalContent", "ServiceInstance", "string", "", "System.Anonymous")
declare_method("Fetch", "ManagedObject", "anyType", "prop:string", "System.View")


def add_managers(world, sessions):
    for kind, vcenter, host in MANAGERS.values():
        manager = Entity(world, kind, host if world.esxi else vcenter, kind)
        manager.getters = {}
    instance = Entity(world, "ServiceInstance", "ServiceInstance", "ServiceInstance")
    instance.getters = {"content": service_content, "serverClock": lambda e: utc(world.clock.now())}
    world.entities["ha-sessionmgr" if world.esxi else "SessionManager"].getters = {
        "defaultLocale": lambda e: "en", "currentSession": lambda e: sessions.served().data()}
    world.entities["ha-taskmgr" if world.esxi else "TaskManager"].getters = {
        "recentTask": lambda e: [t.ref for t in world.of_type(Task)[-30:]]}
    world.entities["ha-authmgr" if world.esxi else "AuthorizationManager"].getters = {
        "privilegeList": lambda e: [Data("AuthorizationPrivilege", privId=p, onParent=False, name=p.rsplit(".", 1)[-1],
                                         privGroupName=p.rsplit(".", 1)[0]) for p in KNOWN_PRIVILEGES]}


def about(world):
    config = world.config
    name = "VMware ESXi" if world.esxi else "VMware vCenter Server"
    full_name = f"{name} {config['version']} build-{config['build']}"
    return Data("AboutInfo", name=name, fullName=full_name, vendor="VMware, Inc.",
                version=config["version"], build=config["build"], localeVersion="INTL", localeBuild="000",
                osType="vmnix-x86" if world.esxi else "linux-x64", productLineId="embeddedEsx" if world.esxi else "vpx",
                apiType="HostAgent" if world.esxi else "VirtualCenter", apiVersion=config["api_version"],
                instanceUuid=None if world.esxi else "5d2f8a3c-0000-4000-8000-000000000001",
                licenseProductName="VMware ESX Server" if world.esxi else "VMware VirtualCenter Server",
                licenseProductVersion="8.0")


def service_content(instance):
    world = instance.world
    refs = {field: Ref(kind, host if world.esxi else vcenter)
            for field, (kind, vcenter, host) in {**MANAGERS, **NAMES_ONLY}.items() if not world.esxi or host}
    return Data("ServiceContent", rootFolder=world.root.ref, about=about(world), **refs)


@method("RetrieveServiceContent")
def _retrieve_service_content(call):
    return service_content(call.this)


@method("CurrentTime")
def _current_time(call):
    return utc(call.world.clock.now())


@method("Fetch")
def _fetch(call):
    values, _ = collector.values_of(call.this, [call.args["prop"]], call.account)
    xml = values.get(call.args["prop"])
    return Raw("" if xml is None else "<returnval" + xml[len("<val"):-len("val>")] + "returnval>")


@method("Login")
def _login(call):
    session = call.lab.sessions.login(call.args["userName"], call.args["password"])
    call.set_cookie = session.cookie
    return session.data()


@method("Logout")
def _logout(call):
    call.lab.sessions.end(call.session)


@method("SessionIsActive")
def _session_is_active(call):
    session = call.lab.sessions.by_key(call.args["sessionID"])
    return session is not None and session.account.username == call.args["userName"]


@method("CreateContainerView")
def _create_container_view(call):
    container = call.world.entities.get(call.args["container"].value)
    if container is None:
        raise not_found(call.args["container"])
    types, recursive = call.args.get("type", []), call.args["recursive"]
    with call.world.lock:
        number = call.world.number("view")
        view = Entity(call.world, "ContainerView", f"session[{call.session.key}]{number:08x}", "view")
        view.getters = {"container": lambda v: container.ref, "type": lambda v: types, "recursive": lambda v: recursive,
                        "view": lambda v: [e.ref for e in _inside(container, recursive) if not types or any(
                            TABLE.is_a(e.type, t) for t in types)]}
        call.session.views.add(view)
        return view.ref


def _children(entity):
    for name in ("children", "hosts"):
        yield from getattr(entity, name, ())
    if entity.type == "Datacenter":
        yield from (entity.vm_folder, entity.host_folder, entity.datastore_folder, entity.network_folder)
    pool = getattr(entity, "pool", None)
    if pool is not None:
        yield pool


def _inside(entity, recursive):
    for child in _children(entity):
        yield child
        if recursive:
            yield from _inside(child, True)


@method("DestroyView")
def _destroy_view(call):
    call.session.views.discard(call.this)
    call.world.remove(call.this)


def _collector_of(call):
    return call.session.collectors.setdefault(call.this.moref, Collector())


@method("CreatePropertyCollector")
def _create_property_collector(call):
    moref = f"session[{call.session.key}]pc{call.world.number('collector')}"
    entity = Entity(call.world, "PropertyCollector", moref, moref)
    entity.getters = {}
    call.session.views.add(entity)
    return entity.ref


@method("DestroyPropertyCollector")
def _destroy_property_collector(call):
    call.session.collectors.pop(call.this.moref, None)
    if call.this in call.session.views:
        call.session.views.discard(call.this)
        call.world.remove(call.this)


@method("RetrieveProperties")
def _retrieve_properties(call):
    return Raw(collector.retrieve(call.world, call.account, call.args.get("specSet", [])))


@method("RetrievePropertiesEx")
def _retrieve_properties_ex(call):
    return Raw(collector.retrieve_ex(call.world, call.account, _collector_of(call), call.args.get("specSet", []),
                                     call.args["options"].get("maxObjects")))


@method("ContinueRetrievePropertiesEx")
def _continue_retrieve_properties_ex(call):
    return Raw(collector.continue_retrieve(call.world, call.account, _collector_of(call), call.args["token"]))


@method("CancelRetrievePropertiesEx")
def _cancel_retrieve_properties_ex(call):
    _collector_of(call).pages.pop(call.args["token"], None)


@method("CreateFilter")
def _create_filter(call):
    owner = _collector_of(call)
    with call.world.lock:
        for entity in collector.select(call.world, call.args["spec"]):
            paths = collector.paths_of(entity, call.args["spec"])
            if paths:                       # InvalidProperty is answered here, not when waiting
                collector.values_of(entity, paths, call.account)
                break
        moref = f"session[{call.session.key}]{call.world.number('view'):08x}"
        made = Filter(call.world, moref, owner, call.args["spec"], call.args["partialUpdates"])
        owner.filters.append(made)
        call.session.views.add(made)
        return made.ref


@method("DestroyPropertyFilter")
def _destroy_property_filter(call):
    with call.world.lock:
        call.session.views.discard(call.this)
        if call.this in call.this.collector.filters:
            call.this.collector.filters.remove(call.this)
        call.world.remove(call.this)


def _wait(call, wait_seconds, limit):
    session = call.session

    def alive():
        return call.lab.sessions.find(session.cookie, renew=False) is session
    return Raw(collector.wait_for_updates(call.world, alive, call.account, _collector_of(call),
                                          call.args.get("version", ""), wait_seconds, limit or 1 << 30))


@method("WaitForUpdatesEx")
def _wait_for_updates_ex(call):
    options = call.args.get("options", {})
    return _wait(call, options.get("maxWaitSeconds"), options.get("maxObjectUpdates"))


@method("WaitForUpdates")
def _wait_for_updates(call):
    return _wait(call, None, None)


@method("CheckForUpdates")
def _check_for_updates(call):
    return _wait(call, 0, None)


@method("CancelWaitForUpdates")
def _cancel_wait_for_updates(call):
    with call.world.lock:
        _collector_of(call).cancelled = True
        call.world.touch()


def _by_uuid(call):
    instance = call.args.get("instanceUuid", False)
    wanted = call.args["uuid"].lower()
    if not call.args["vmSearch"]:
        return []
    return [vm.ref for vm in call.world.vms() if (vm.instance_uuid if instance else vm.uuid) == wanted]


@method("FindByUuid")
def _find_by_uuid(call):
    found = _by_uuid(call)
    return found[0] if found else None


@method("FindAllByUuid")
def _find_all_by_uuid(call):
    return _by_uuid(call)


@method("FindByDnsName")
def _find_by_dns_name(call):
    name = call.args["dnsName"]
    if call.args["vmSearch"]:
        return next((vm.ref for vm in call.world.vms() if vm.settings["hostname"] == name), None)
    return next((h.ref for h in call.world.of_type(Host) if h.name == name), None)


@method("FindByInventoryPath")
def _find_by_inventory_path(call):
    here = call.world.root
    for part in [p for p in call.args["inventoryPath"].split("/") if p]:
        here = next((c for c in _children(here) if escaped(c.name) == part), None)
        if here is None:
            return None
    return here.ref


@method("FindChild")
def _find_child(call):
    parent = call.world.entities.get(call.args["entity"].value)
    if parent is None:
        raise not_found(call.args["entity"])
    return next((c.ref for c in _children(parent) if escaped(c.name) == call.args["name"]), None)


def _session_account(call):
    session = call.lab.sessions.by_key(call.args["sessionId"])
    if session is None:
        raise invalid_argument("sessionId")
    return session.account


def _entity(call, ref):
    entity = call.world.entities.get(ref.value)
    if entity is None:
        raise not_found(ref)
    return entity


@method("HasPrivilegeOnEntities")
def _has_privilege_on_entities(call):
    account = _session_account(call)
    return [Data("EntityPrivilege", entity=ref, privAvailability=[
        Data("PrivilegeAvailability", privId=p, isGranted=account.may(p, _entity(call, ref)))
        for p in call.args.get("privId", [])]) for ref in call.args.get("entity", [])]


@method("HasPrivilegeOnEntity")
def _has_privilege_on_entity(call):
    account, entity = _session_account(call), _entity(call, call.args["entity"])
    return [account.may(p, entity) for p in call.args.get("privId", [])]


@method("FetchUserPrivilegeOnEntities")
def _fetch_user_privilege_on_entities(call):
    account = call.lab.sessions.account(call.args["userName"])
    if account is None:
        raise VimFault("InvalidArgument", invalidProperty="userName")
    return [Data("UserPrivilegeResult", entity=ref, privileges=account.listing(_entity(call, ref)))
            for ref in call.args.get("entities", [])]


@method("AcquireGenericServiceTicket")
def _acquire_generic_service_ticket(call):
    spec = call.args["spec"]
    if spec.type != "SessionManagerHttpServiceRequestSpec" or not spec.get("url"):
        raise invalid_argument("spec")
    verb = {"httpPut": "PUT", "httpPost": "POST", "httpHead": "HEAD"}.get(spec.get("method"), "GET")
    ticket = call.lab.tickets.issue_http(call.account, spec["url"], verb)
    return Data("SessionManagerGenericServiceTicket", id=ticket, hostName=call.lab.address,
                sslThumbprint=call.lab.certificate.sha1)


@method("RetrieveInternalContent")
def _retrieve_internal_content(call):
    """About twenty references on a real server; the NFC service is the one that is wanted."""
    out = []
    host = call.world.esxi
    for name, value in (("llProvisioningManager", "ha-ll-provisioning" if host else "LlProvisioningManager"),
                        ("nfcService", "ha-nfc-service" if host else "nfcService"),
                        ("proxyService", "ha-proxy-service" if host else "ProxyService")):
        encode(out, name, Ref(name[0].upper() + name[1:], value), "ref")
    return Raw("<returnval>" + "".join(out) + "</returnval>")
