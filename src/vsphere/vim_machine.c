/* SPDX-License-Identifier: Apache-2.0 */
/* One machine: read whole, found, and its state of the moment. */
#include "vsphere/vim_machine.h"

#include "base/log.h"
#include "base/text.h"
#include "vsphere/vim_build.h"
#include "vsphere/vim_property.h"

/* A machine with the memory that holds its texts; vim_machine_free gets the first. */
struct machine_box {
    struct vim_machine machine;
    struct wire_arena arena;
};

/* Names of the distributed port groups that the machine's cards use. */
static bool is_portgroup_wanted(const struct wire_MachineProperties *told)
{
    for (size_t i = 0; i < told->devices.count; i++)
        if (told->devices.items[i].macAddress && told->devices.items[i].backing &&
            told->devices.items[i].backing->port)
            return true;
    return false;
}

struct portgroup_list {
    struct wire_arena *arena;
    struct vim_portgroup *items;
    size_t count;
};

static bool add_portgroup(void *arg, const struct vim_ref *ref, const void *properties,
                          struct err *err)
{
    (void)ref; /* the key is what cards name */
    struct portgroup_list *list = arg;
    const struct wire_PortgroupProperties *told = properties;
    if (!told->key || !told->name)
        return true;
    struct vim_portgroup *item = &list->items[list->count];
    item->key = wire_strdup(list->arena, told->key, err);
    item->name = item->key ? wire_strdup(list->arena, told->name, err) : NULL;
    if (!item->name)
        return false;
    list->count++;
    return true;
}

/* On a vCenter a port group's key is its id, so each is asked by name of the card. */
static bool read_portgroups(struct vim *vim, const struct wire_MachineProperties *told,
                            struct wire_arena *arena, const struct cancel *cancel,
                            struct vim_portgroups *ret, struct err *err)
{
    struct vim_ref *refs = wire_alloc(arena, told->devices.count, sizeof *refs, err);
    struct portgroup_list groups = {.arena = arena};
    groups.items = wire_alloc(arena, told->devices.count, sizeof *groups.items, err);
    if (!refs || !groups.items)
        return false;
    size_t count = 0;
    for (size_t i = 0; i < told->devices.count; i++) {
        const struct wire_VirtualDeviceBackingInfo *backing =
            told->devices.items[i].backing;
        if (!backing || !backing->port || !backing->port->portgroupKey)
            continue;
        text_copy(refs[count].type, sizeof refs[count].type,
                  "DistributedVirtualPortgroup");
        text_copy(refs[count].id, sizeof refs[count].id, backing->port->portgroupKey);
        count++;
    }
    struct vim_list list = {
        .refs = refs,
        .count = count,
        .properties = wire_type_PortgroupProperties(),
        .on_object = add_portgroup,
        .arg = &groups,
    };
    struct err ignored = ERR_INIT;
    if (!vim_property_list(vim, &list, cancel, &ignored)) /* the key is shown then */
        log_debug("vim_portgroups_unread", "kind=%s", err_kind_name(ignored.kind));
    *ret = (struct vim_portgroups){groups.items, groups.count};
    return cancel_check(cancel, err);
}

struct vim_machine *vim_machine_get(struct vim *vim, const struct vim_ref *vm,
                                    const struct cancel *cancel, struct err *err)
{
    struct machine_box *box = xcalloc(1, sizeof *box);
    AUTO(vim_machine_free) struct vim_machine *machine = &box->machine;
    struct wire_MachineProperties told;
    struct vim_one one = {
        .ref = vm,
        .properties = wire_type_MachineProperties(),
        .arena = &box->arena,
        .ret = &told,
    };
    struct vim_portgroups portgroups = {0};
    if (!vim_property_get(vim, &one, cancel, err))
        return NULL;
    if (is_portgroup_wanted(&told) &&
        !read_portgroups(vim, &told, &box->arena, cancel, &portgroups, err))
        return NULL;
    machine->ref = *vm;
    if (!vim_build_machine(&told, &portgroups, &box->arena, machine, err))
        return NULL;
    return TAKE(machine);
}

void vim_machine_free(struct vim_machine *machine)
{
    if (!machine)
        return;
    struct machine_box *box = (struct machine_box *)machine;
    wire_arena_release(&box->arena);
    free(box);
}

/* What a search found; a second hit is a conflict. */
struct search {
    const char *text;
    struct vim_ref found;
    size_t count;
    struct buf ids;
};

static void add_hit(struct search *search, const struct vim_ref *ref)
{
    if (search->count++ == 0)
        search->found = *ref;
    if (search->count <= 8)
        buf_printf(&search->ids, "%s%s", search->ids.bytes ? ", " : "", ref->id);
}

static bool match_name(void *arg, const struct vim_ref *ref, const void *properties,
                       struct err *err)
{
    struct search *search = arg;
    const struct wire_NameProperties *told = properties;
    AUTO(wire_arena_release) struct wire_arena arena = {0};
    const char *name = vim_name_decode(&arena, told->name, err);
    if (!name)
        return false;
    if (strcmp(name, search->text) == 0 ||
        (told->name && strcmp(told->name, search->text) == 0))
        add_hit(search, ref);
    return true;
}

static bool search_names(struct vim *vim, struct search *search,
                         const struct cancel *cancel, struct err *err)
{
    static const char *const types[] = {"VirtualMachine", NULL};
    AUTO(wire_arena_release) struct wire_arena arena = {.max_bytes = 256 * MIB};
    struct vim_refs machines = {0};
    if (!vim_property_find_all(vim, types, &arena, cancel, &machines, err))
        return false;
    struct vim_list list = {
        .refs = machines.items,
        .count = machines.count,
        .properties = wire_type_NameProperties(),
        .on_object = match_name,
        .arg = search,
    };
    return vim_property_list(vim, &list, cancel, err);
}

static bool read_hit(void *arg, struct xml_reader *reader, struct err *err)
{
    struct vim_ref ref = {0};
    if (!wire_read_ref(reader, &ref, err))
        return false;
    if (strcmp(ref.type, "VirtualMachine") == 0)
        add_hit(arg, &ref);
    return true;
}

static bool search_uuid(struct vim *vim, struct search *search, bool is_instance,
                        const struct cancel *cancel, struct err *err)
{
    struct wire_FindAllByUuid args = {
        ._this = vim_content(vim)->search_index,
        .uuid = search->text,
        .vmSearch = WIRE_TRUE,
        .instanceUuid = WIRE_BOOL(is_instance),
    };
    struct vim_call call = {
        .type = wire_type_FindAllByUuid(),
        .args = &args,
        .on_return = read_hit,
        .arg = search,
        .cancel = cancel,
    };
    struct err tried = ERR_INIT;
    if (vim_call_send(vim, &call, &tried))
        return true;
    if (!vim_call_is_unknown(&call)) {
        *err = tried;
        return false;
    }
    /* The older method, with the same arguments, tells the first one only. */
    struct wire_FindByUuid older = {
        ._this = args._this,
        .uuid = args.uuid,
        .vmSearch = args.vmSearch,
        .instanceUuid = args.instanceUuid,
    };
    call.type = wire_type_FindByUuid();
    call.args = &older;
    return vim_call_send(vim, &call, err);
}

static bool search_moref(struct vim *vim, struct search *search,
                         const struct cancel *cancel, struct err *err)
{
    struct vim_ref ref = {.type = "VirtualMachine"};
    if (strlen(search->text) >= sizeof ref.id)
        return true;
    text_copy(ref.id, sizeof ref.id, search->text);
    AUTO(wire_arena_release) struct wire_arena arena = {0};
    struct wire_NameProperties told;
    struct vim_one one = {
        .ref = &ref,
        .properties = wire_type_NameProperties(),
        .arena = &arena,
        .ret = &told,
    };
    struct err tried = ERR_INIT;
    if (vim_property_get(vim, &one, cancel, &tried))
        add_hit(search, &ref);
    else if (tried.kind != FAIL_GONE) {
        *err = tried;
        return false;
    }
    return true;
}

bool vim_machine_find(struct vim *vim, enum vim_find by, const char *text,
                      const struct cancel *cancel, struct vim_ref *ret, struct err *err)
{
    static const char *const what[] = {
        [VIM_FIND_MOREF] = "id",
        [VIM_FIND_INSTANCE_UUID] = "instance UUID",
        [VIM_FIND_UUID] = "BIOS UUID",
        [VIM_FIND_NAME] = "name",
    };
    struct search search = {.text = text};
    bool ok = false;
    switch (by) {
    case VIM_FIND_MOREF:
        ok = search_moref(vim, &search, cancel, err);
        break;
    case VIM_FIND_INSTANCE_UUID:
        ok = search_uuid(vim, &search, true, cancel, err);
        break;
    case VIM_FIND_UUID:
        ok = search_uuid(vim, &search, false, cancel, err);
        break;
    case VIM_FIND_NAME:
        ok = search_names(vim, &search, cancel, err);
        break;
    }
    if (ok && search.count == 0)
        ok = err_set(err, FAIL_GONE, "'%s' has no virtual machine with the %s '%s'",
                     vim_host_name(vim), what[by], text);
    if (ok && search.count > 1)
        ok = err_set(err, FAIL_CONFLICT,
                     "'%s' has %zu virtual machines with the %s '%s' (%s); name one by "
                     "its id",
                     vim_host_name(vim), search.count, what[by], text,
                     buf_text(&search.ids));
    if (ok)
        *ret = search.found;
    buf_release(&search.ids);
    return ok;
}

bool vim_state_get(struct vim *vim, const struct vim_ref *vm, const struct cancel *cancel,
                   struct vim_state *ret, struct err *err)
{
    AUTO(wire_arena_release) struct wire_arena arena = {0};
    struct wire_MachineStateProperties told;
    struct vim_one one = {
        .ref = vm,
        .properties = wire_type_MachineStateProperties(),
        .arena = &arena,
        .ret = &told,
    };
    if (!vim_property_get(vim, &one, cancel, err))
        return false;
    *ret = (struct vim_state){
        .power = vim_power_from_name(told.power),
        .has_tools_running =
            told.tools_running && strcmp(told.tools_running, "guestToolsRunning") == 0,
        .is_cbt_enabled = told.cbt_enabled == WIRE_TRUE,
        .is_consolidation_needed = told.consolidation_needed == WIRE_TRUE,
        .host = told.host,
        .current_snapshot = told.current_snapshot,
    };
    text_copy(ret->connection, sizeof ret->connection,
              told.connection ? told.connection : "");
    return true;
}
