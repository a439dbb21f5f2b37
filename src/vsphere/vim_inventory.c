/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over an inventory. First the places, kept in memory (name and parent, a few
 * hundred bytes each: even a large inventory has few thousand), because paths are made of
 * them. Then hosts, datastores and networks, of which only the distributed port groups'
 * names are kept. Last the machines, each forgotten after its callback.
 */
#include "vsphere/vim_inventory.h"

#include <stdlib.h>

#include "base/text.h"
#include "vsphere/vim_build.h"
#include "vsphere/vim_property.h"

#define PATH_MAX_PLACES 64
#define REFS_MAX_BYTES  ((size_t)(256 * MIB))

struct place {
    struct vim_ref ref;
    struct vim_ref parent;
    const char *name;
};

struct walk {
    struct vim *vim;
    const struct vim_visitor *visitor;
    const struct cancel *cancel;
    struct wire_arena arena; /* of the places and the port groups */
    struct place *places;    /* by ref once sorted */
    size_t place_count;
    struct vim_portgroup *portgroups;
    size_t portgroup_count;
    struct buf path;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a;
    const struct place *y = b;
    return strcmp(x->ref.id, y->ref.id);
}

static const struct place *find_place(const struct walk *walk, const struct vim_ref *ref)
{
    struct place key = {.ref = *ref};
    if (walk->place_count == 0)
        return NULL;
    return bsearch(&key, walk->places, walk->place_count, sizeof key, compare_places);
}

/* Names from the root folder's child down to that place, then name; in walk->path. */
static const char *make_path(struct walk *walk, const struct vim_ref *parent,
                             const char *name)
{
    const struct place *chain[PATH_MAX_PLACES];
    size_t depth = 0;
    const struct vim_ref *root = &vim_content(walk->vim)->root_folder;
    for (const struct place *at = find_place(walk, parent);
         at && depth < PATH_MAX_PLACES && !vim_ref_equal(&at->ref, root);
         at = find_place(walk, &at->parent))
        chain[depth++] = at;
    buf_clear(&walk->path);
    while (depth > 0)
        buf_printf(&walk->path, "%s%s", walk->path.bytes ? "/" : "",
                   chain[--depth]->name);
    if (name)
        buf_printf(&walk->path, "%s%s", walk->path.bytes ? "/" : "", name);
    return buf_text(&walk->path);
}

static bool list_all(struct walk *walk, const char *const types[],
                     const struct wire_type *properties, vim_object_fn on_object,
                     struct err *err)
{
    AUTO(wire_arena_release) struct wire_arena arena = {.max_bytes = REFS_MAX_BYTES};
    struct vim_refs refs = {0};
    if (!vim_property_find_all(walk->vim, types, &arena, walk->cancel, &refs, err))
        return false;
    if (refs.count > VIM_INVENTORY_MAX)
        return err_set(err, FAIL_LIMIT, "%zu objects of type %s, more than %d",
                       refs.count, types[0], VIM_INVENTORY_MAX);
    struct vim_list list = {
        .refs = refs.items,
        .count = refs.count,
        .properties = properties,
        .on_object = on_object,
        .arg = walk,
    };
    return vim_property_list(walk->vim, &list, walk->cancel, err);
}

/* A copy that outlives the page, decoded. */
static const char *keep_name(struct walk *walk, const char *name, struct err *err)
{
    const char *decoded = vim_name_decode(&walk->arena, name, err);
    return decoded && decoded == name ? wire_strdup(&walk->arena, decoded, err) : decoded;
}

static bool add_place(void *arg, const struct vim_ref *ref, const void *properties,
                      struct err *err)
{
    struct walk *walk = arg;
    const struct wire_PlaceProperties *told = properties;
    struct place place = {.ref = *ref, .parent = told->parent};
    place.name = keep_name(walk, told->name, err);
    if (!place.name)
        return false;
    if ((walk->place_count & (walk->place_count - 1)) == 0) {
        size_t cap = walk->place_count ? walk->place_count * 2 : 1;
        walk->places = xrealloc(walk->places, cap, sizeof place);
    }
    walk->places[walk->place_count++] = place;
    return true;
}

static bool read_places(struct walk *walk, struct err *err)
{
    /* One view per type: a page holds one type, and views give them mixed. */
    static const char *const types[][2] = {
        {"Datacenter", NULL},
        {"Folder", NULL},
        {"ComputeResource", NULL},
        {"VirtualApp", NULL},
    };
    for (size_t i = 0; i < ARRAY_COUNT(types); i++)
        if (!list_all(walk, types[i], wire_type_PlaceProperties(), add_place, err))
            return false;
    if (walk->place_count)
        qsort(walk->places, walk->place_count, sizeof *walk->places, compare_places);
    return true;
}

static bool tell_places(struct walk *walk, struct err *err)
{
    for (size_t i = 0; walk->visitor->place && i < walk->place_count; i++) {
        const struct place *place = &walk->places[i];
        struct vim_place told = {
            .ref = place->ref,
            .parent = place->parent,
            .name = place->name,
            .path = make_path(walk, &place->parent, place->name),
        };
        if (!walk->visitor->place(walk->visitor->arg, &told, err))
            return false;
    }
    return true;
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

static uint64_t positive(const struct wire_int *number)
{
    return number->is_set && number->value > 0 ? (uint64_t)number->value : 0;
}

static bool build_host(const struct vim_ref *ref, const struct wire_HostProperties *told,
                       struct wire_arena *arena, struct vim_host *ret, struct err *err)
{
    *ret = (struct vim_host){
        .ref = *ref,
        .parent = told->parent,
        .name = vim_name_decode(arena, told->name, err),
        .path = "",
        .version = or_empty(told->version),
        .build = or_empty(told->build),
        .connection = or_empty(told->connection),
        .power = or_empty(told->power),
        .is_in_maintenance = told->maintenance == WIRE_TRUE,
        .cpu_threads = (uint32_t)positive(&told->cpu_threads),
        .memory_bytes = positive(&told->memory_bytes),
    };
    return ret->name != NULL;
}

static bool build_datastore(const struct vim_ref *ref,
                            const struct wire_DatastoreProperties *told,
                            struct wire_arena *arena, struct vim_datastore *ret,
                            struct err *err)
{
    static const struct wire_DatastoreSummary none;
    const struct wire_DatastoreSummary *summary = told->summary ? told->summary : &none;
    *ret = (struct vim_datastore){
        .ref = *ref,
        .name = vim_name_decode(arena, told->name, err),
        .datacenter = "",
        .type = or_empty(summary->type),
        .url = or_empty(summary->url),
        .capacity_bytes = positive(&summary->capacity),
        .free_bytes = positive(&summary->freeSpace),
        .is_accessible = summary->accessible == WIRE_TRUE,
        .is_in_maintenance =
            summary->maintenanceMode && strcmp(summary->maintenanceMode, "normal") != 0,
        .is_shared = summary->multipleHostAccess == WIRE_TRUE,
    };
    return ret->name != NULL;
}

static bool tell_host(void *arg, const struct vim_ref *ref, const void *properties,
                      struct err *err)
{
    struct walk *walk = arg;
    AUTO(wire_arena_release) struct wire_arena arena = {0};
    struct vim_host host;
    if (!build_host(ref, properties, &arena, &host, err))
        return false;
    host.path = make_path(walk, &host.parent, host.name);
    return walk->visitor->host(walk->visitor->arg, &host, err);
}

static const char *datacenter_of(const struct walk *walk, const struct vim_ref *parent)
{
    const struct place *at = find_place(walk, parent);
    for (size_t i = 0; at && i < PATH_MAX_PLACES; i++) {
        if (strcmp(at->ref.type, "Datacenter") == 0)
            return at->name;
        at = find_place(walk, &at->parent);
    }
    return "";
}

static bool tell_datastore(void *arg, const struct vim_ref *ref, const void *properties,
                           struct err *err)
{
    struct walk *walk = arg;
    const struct wire_DatastoreProperties *told = properties;
    AUTO(wire_arena_release) struct wire_arena arena = {0};
    struct vim_datastore datastore;
    if (!build_datastore(ref, told, &arena, &datastore, err))
        return false;
    datastore.datacenter = datacenter_of(walk, &told->parent);
    return walk->visitor->datastore(walk->visitor->arg, &datastore, err);
}

static bool tell_network_named(struct walk *walk, const struct vim_ref *ref,
                               const char *name, const char *key, struct err *err)
{
    struct vim_network network = {.ref = *ref, .portgroup_key = or_empty(key)};
    AUTO(wire_arena_release) struct wire_arena arena = {0};
    network.name = vim_name_decode(&arena, name, err);
    if (!network.name)
        return false;
    return !walk->visitor->network ||
           walk->visitor->network(walk->visitor->arg, &network, err);
}

static bool tell_network(void *arg, const struct vim_ref *ref, const void *properties,
                         struct err *err)
{
    /* Port groups come as networks too; they are told with their key, once. */
    if (strcmp(ref->type, "DistributedVirtualPortgroup") == 0)
        return true;
    const struct wire_NetworkProperties *told = properties;
    return tell_network_named(arg, ref, told->name, NULL, err);
}

static bool add_portgroup(void *arg, const struct vim_ref *ref, const void *properties,
                          struct err *err)
{
    struct walk *walk = arg;
    const struct wire_PortgroupProperties *told = properties;
    struct vim_portgroup group = {0};
    group.name = keep_name(walk, or_empty(told->name), err);
    group.key = group.name ? wire_strdup(&walk->arena, or_empty(told->key), err) : NULL;
    if (!group.key)
        return false;
    if ((walk->portgroup_count & (walk->portgroup_count - 1)) == 0) {
        size_t cap = walk->portgroup_count ? walk->portgroup_count * 2 : 1;
        walk->portgroups = xrealloc(walk->portgroups, cap, sizeof group);
    }
    walk->portgroups[walk->portgroup_count++] = group;
    return tell_network_named(walk, ref, told->name, told->key, err);
}

static bool tell_machine(void *arg, const struct vim_ref *ref, const void *properties,
                         struct err *err)
{
    struct walk *walk = arg;
    const struct vim_portgroups portgroups = {walk->portgroups, walk->portgroup_count};
    AUTO(wire_arena_release) struct wire_arena arena = {0};
    struct vim_machine machine = {.ref = *ref};
    if (!vim_build_machine(properties, &portgroups, &arena, &machine, err))
        return err_wrap(err, "machine '%s'", ref->id);
    machine.folder_path = make_path(walk, &machine.parent, NULL);
    return walk->visitor->machine(walk->visitor->arg, &machine, err);
}

static bool run(struct walk *walk, struct err *err)
{
    static const char *const hosts[] = {"HostSystem", NULL};
    static const char *const datastores[] = {"Datastore", NULL};
    static const char *const networks[] = {"Network", NULL};
    static const char *const portgroups[] = {"DistributedVirtualPortgroup", NULL};
    static const char *const machines[] = {"VirtualMachine", NULL};
    const struct vim_visitor *visitor = walk->visitor;
    return read_places(walk, err) && tell_places(walk, err) &&
           (!visitor->host ||
            list_all(walk, hosts, wire_type_HostProperties(), tell_host, err)) &&
           (!visitor->datastore ||
            list_all(walk, datastores, wire_type_DatastoreProperties(), tell_datastore,
                     err)) &&
           (!visitor->network ||
            list_all(walk, networks, wire_type_NetworkProperties(), tell_network, err)) &&
           ((!visitor->network && !visitor->machine) ||
            list_all(walk, portgroups, wire_type_PortgroupProperties(), add_portgroup,
                     err)) &&
           (!visitor->machine ||
            list_all(walk, machines, wire_type_MachineProperties(), tell_machine, err));
}

bool vim_inventory_walk(struct vim *vim, const struct vim_visitor *visitor,
                        const struct cancel *cancel, struct err *err)
{
    struct walk walk = {.vim = vim, .visitor = visitor, .cancel = cancel};
    bool ok = run(&walk, err);
    free(walk.places);
    free(walk.portgroups);
    buf_release(&walk.path);
    wire_arena_release(&walk.arena);
    return ok;
}

struct datastore_box {
    struct vim_datastore datastore;
    struct wire_arena arena;
};

struct vim_datastore *vim_datastore_get(struct vim *vim, const struct vim_ref *ref,
                                        const struct cancel *cancel, struct err *err)
{
    struct datastore_box *box = xcalloc(1, sizeof *box);
    AUTO(vim_datastore_free) struct vim_datastore *datastore = &box->datastore;
    struct wire_DatastoreProperties told;
    struct vim_one one = {
        .ref = ref,
        .properties = wire_type_DatastoreProperties(),
        .arena = &box->arena,
        .ret = &told,
    };
    if (!vim_property_get(vim, &one, cancel, err) ||
        !build_datastore(ref, &told, &box->arena, datastore, err))
        return NULL;
    return TAKE(datastore);
}

void vim_datastore_free(struct vim_datastore *datastore)
{
    struct datastore_box *box = (struct datastore_box *)datastore;
    if (box)
        wire_arena_release(&box->arena);
    free(box);
}

struct host_box {
    struct vim_host host;
    struct wire_arena arena;
};

struct vim_host *vim_host_get(struct vim *vim, const struct vim_ref *ref,
                              const struct cancel *cancel, struct err *err)
{
    struct host_box *box = xcalloc(1, sizeof *box);
    AUTO(vim_host_free) struct vim_host *host = &box->host;
    struct wire_HostProperties told;
    struct vim_one one = {
        .ref = ref,
        .properties = wire_type_HostProperties(),
        .arena = &box->arena,
        .ret = &told,
    };
    if (!vim_property_get(vim, &one, cancel, err) ||
        !build_host(ref, &told, &box->arena, host, err))
        return NULL;
    return TAKE(host);
}

void vim_host_free(struct vim_host *host)
{
    struct host_box *box = (struct host_box *)host;
    if (box)
        wire_arena_release(&box->arena);
    free(box);
}
