# SPDX-License-Identifier: Apache-2.0
"""The property collector: traversal, paging, and filters with waiting for updates.

Property values are encoded as soon as they are read, under World.lock, so one answer shows one instant.
"""
from . import properties
from .model import Entity
from .vimfault import VimFault, invalid_argument
from .vimtypes import TABLE, Data, Ref, encode, scalar_text

MAX_WAIT_SECONDS = 600


class Collector:
    """State of one session's collector; the well-known moref stands for a default one per session."""

    def __init__(self):
        self.filters, self.pages = [], {}
        self.number, self.version_text = 0, ""
        self.cancelled = False


class Filter(Entity):
    def __init__(self, world, moref, collector, spec, partial):
        super().__init__(world, "PropertyFilter", moref, moref)
        self.collector, self.spec, self.partial = collector, spec, partial
        self.seen = {}                      # moref: (entity version, {path: xml or None})
        self.getters = {"spec": lambda f: f.spec, "partialUpdates": lambda f: f.partial}


def _named_specs(select_set, into):
    for one in select_set:
        if one.get("name") and one.type == "TraversalSpec":
            into[one["name"]] = one
        if one.type == "TraversalSpec":
            _named_specs(one.get("selectSet", []), into)
    return into


def _targets(world, entity, path):
    value, field = properties.get(entity, path, {})
    refs = (value or []) if field.array else [value]
    return [world.entities[ref.value] for ref in refs if isinstance(ref, Ref) and ref.value in world.entities]


def select(world, spec):
    """The entities that a filter spec selects, each once, in order of discovery."""
    found = {}
    for start in spec.get("objectSet", []):
        first = world.entities.get(start["obj"].value)
        if first is None:
            if spec.get("reportMissingObjectsInResults"):
                continue
            raise VimFault("ManagedObjectNotFound", obj=start["obj"])
        if not start.get("skip"):
            found[first] = True
        named = _named_specs(start.get("selectSet", []), {})
        visited = set()
        queue = [(first, start.get("selectSet", []))]
        while queue:
            entity, select_set = queue.pop()
            for one in select_set:
                chosen = one if one.type == "TraversalSpec" else named.get(one.get("name"))
                if chosen is None:
                    raise invalid_argument("specSet.objectSet.selectSet")
                if not TABLE.is_a(entity.type, chosen["type"]) or (entity, id(chosen)) in visited:
                    continue
                visited.add((entity, id(chosen)))
                for target in _targets(world, entity, chosen["path"]):
                    if not chosen.get("skip"):
                        found[target] = True
                    queue.append((target, chosen.get("selectSet", [])))
    return list(found)


def paths_of(entity, spec):
    """The property paths asked of this entity, or None when no property spec is for its type."""
    paths = None
    for one in spec.get("propSet", []):
        if TABLE.is_a(entity.type, one["type"]):
            paths = paths or []
            paths += properties.root_names(entity) if one.get("all") else one.get("pathSet", [])
    return None if paths is None else list(dict.fromkeys(paths))


def values_of(entity, paths, account):
    """({path: xml of its val, or None when unset}, [missing property xml])."""
    cache, values, missing = {}, {}, []
    allowed = account.may("System.Read", entity)
    for path in paths:
        if not allowed:
            fault = VimFault("NoPermission", object=entity.ref, privilegeId="System.Read")
            encode(missing, "missingSet", Data("MissingProperty", path=path, fault=Data(
                "LocalizedMethodFault", fault=fault.data, localizedMessage=fault.message)), "MissingProperty")
            continue
        try:
            value, field = properties.get(entity, path, cache)
        except properties.UnknownProperty:
            raise VimFault("InvalidProperty", "", name=path) from None
        out = None
        if value is not None:
            out = []
            encode(out, "val", value, field.type, field.array, any_type=True)
        values[path] = "".join(out) if out is not None else None
    return values, missing


def _object_content(name, entity, paths, account):
    values, missing = values_of(entity, paths, account)
    out = [f"<{name}>"]
    encode(out, "obj", entity.ref, "ref")
    for path, xml in values.items():
        if xml is not None:
            out.append(f"<propSet><name>{scalar_text(path)}</name>{xml}</propSet>")
    return "".join(out + missing) + f"</{name}>"


def _selected(world, spec_set):
    """[(entity, paths)] over all specs; an entity of two specs comes once."""
    merged = {}
    for spec in spec_set:
        for entity in select(world, spec):
            paths = paths_of(entity, spec)
            if paths is not None:
                merged.setdefault(entity, []).extend(paths)
    return [(entity, list(dict.fromkeys(paths))) for entity, paths in merged.items()]


def retrieve(world, account, spec_set, name="returnval"):
    with world.lock:
        return "".join(_object_content(name, e, p, account) for e, p in _selected(world, spec_set))


def retrieve_ex(world, account, collector, spec_set, max_objects):
    """The returnval element of RetrievePropertiesEx, or nothing when nothing was selected."""
    with world.lock:
        return _page(collector, account, _selected(world, spec_set), max_objects)


def continue_retrieve(world, account, collector, token):
    with world.lock:
        if token not in collector.pages:
            raise invalid_argument("token")
        rest, max_objects = collector.pages.pop(token)
        return _page(collector, account, [(e, p) for e, p in rest if e.moref in world.entities], max_objects)


def _page(collector, account, chosen, max_objects):
    if not chosen:
        return ""
    size = max_objects if max_objects and max_objects > 0 else len(chosen)
    token = ""
    if len(chosen) > size:
        collector.number += 1
        token = str(collector.number)
        collector.pages[token] = (chosen[size:], size)
        token = f"<token>{token}</token>"
    content = "".join(_object_content("objects", e, p, account) for e, p in chosen[:size])
    return f"<returnval>{token}{content}</returnval>"


def _object_update(kind, entity, changes, missing=()):
    out = ["<objectSet>", f"<kind>{kind}</kind>"]
    encode(out, "obj", entity.ref, "ref")
    for path, xml in changes.items():
        out.append(f"<changeSet><name>{scalar_text(path)}</name><op>assign</op>{xml or ''}</changeSet>")
    return "".join(out + list(missing)) + "</objectSet>"


def _filter_updates(world, account, one, limit):
    """objectSet elements of one filter that are new since it was last asked; at most `limit`."""
    updates = []
    selected = {entity.moref: (entity, paths_of(entity, one.spec)) for entity in select(world, one.spec)}
    for moref in [m for m in one.seen if m not in selected]:
        ref = one.seen.pop(moref)[2]
        updates.append(f'<objectSet><kind>leave</kind><obj type="{ref.type}">{scalar_text(ref.value)}</obj></objectSet>')
    for moref, (entity, paths) in selected.items():
        if len(updates) >= limit:
            return updates, True
        if paths is None:
            continue
        known = one.seen.get(moref)
        if known is not None and known[0] == entity.version:
            continue
        values, missing = values_of(entity, paths, account)
        if known is None:
            updates.append(_object_update("enter", entity, {p: x for p, x in values.items() if x is not None}, missing))
        else:
            changed = {p: x for p, x in values.items() if known[1].get(p) != x}
            if changed:
                updates.append(_object_update("modify", entity, changed))
        one.seen[moref] = (entity.version, values, entity.ref)
    return updates, False


def _update_set(world, account, collector, limit):
    parts, truncated = [], False
    for one in collector.filters:
        updates, more = _filter_updates(world, account, one, limit)
        truncated = truncated or more
        if updates:
            out = []
            encode(out, "filter", one.ref, "ref")
            parts.append("<filterSet>" + "".join(out) + "".join(updates) + "</filterSet>")
    if not parts:
        return None
    collector.number += 1
    collector.version_text = str(collector.number)
    tail = "<truncated>true</truncated>" if truncated else ""
    return f"<returnval><version>{collector.version_text}</version>{''.join(parts)}{tail}</returnval>"


def wait_for_updates(world, session_alive, account, collector, version, wait_seconds, limit):
    """The returnval of WaitForUpdatesEx; empty when the time is over without an update."""
    with world.lock:
        if not version:
            for one in collector.filters:
                one.seen = {}
        elif version != collector.version_text:
            raise VimFault("InvalidCollectorVersion", "")
        collector.cancelled = False
        end = world.clock.now() + min(MAX_WAIT_SECONDS, MAX_WAIT_SECONDS if wait_seconds is None else wait_seconds)
        while True:
            looked_at = world.version
            found = _update_set(world, account, collector, limit)
            if found is not None:
                return found
            while world.version == looked_at:
                left = end - world.clock.now()
                if left <= 0:
                    return ""
                world.updated.wait(min(left, 0.5))
                if collector.cancelled:
                    raise VimFault("RequestCanceled")
                if not session_alive():
                    raise VimFault("NotAuthenticated", object=Ref("PropertyCollector", "propertyCollector"),
                                   privilegeId="System.View")
