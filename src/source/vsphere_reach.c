/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pre-flight of what is around a machine: the hosts that serve its disks, its datastores,
 * and what the account may do. Hosts are connected to (name, port 902, greeting) and left
 * at once: a ticket that is asked for to learn where to dial is never used. What was
 * found out about a host is kept for the other machines of the same check.
 *
 * Nothing here fails the check: what cannot be found out is a finding.
 */
#include "source/vsphere.h"

#include "base/text.h"
#include "vsphere/hotadd_gateway.h"
#include "vsphere/nfc_stream.h"
#include "vsphere/vim_access.h"

#define AUTHD_PORT    902
#define GREETING_MS   10000
#define GREETING_SIZE 512

struct host_entry {
    struct vim_ref ref;
    struct vim_ref parent;
    char name[128];
    char connection[32];
    bool is_dialled;   /* where a ticket said */
    bool is_tried;     /* by its name, or so */
    struct err failed; /* of the last of both; FAIL_NONE: it greets */
};

struct vsphere_hosts {
    struct host_entry *items;
    size_t count, cap;
};

void vsphere_hosts_free(struct vsphere_hosts *hosts)
{
    if (hosts)
        free(hosts->items);
    free(hosts);
}

#define WHY(finding, ...)                                                                \
    (void)snprintf((finding)->why, sizeof(finding)->why, __VA_ARGS__)
#define REMEDY(finding, ...)                                                             \
    (void)snprintf((finding)->remedy, sizeof(finding)->remedy, __VA_ARGS__)

static struct finding *add(struct findings *findings, enum finding_severity severity,
                           const char *code, const char *kind, const char *name)
{
    struct finding *f = findings_add(findings, severity, code);
    (void)snprintf(f->what, sizeof f->what, "%s '%.120s'", kind, name);
    return f;
}

static bool uses(const struct vsphere_source *source, const char *transport)
{
    for (size_t i = 0; i < source->transport_count; i++)
        if (strcmp(source->transports[i]->name, transport) == 0)
            return true;
    return false;
}

/* ---- hosts ---- */

/* Name resolution, the port, and that an authd is behind it. */
static bool greets(const char *host, uint16_t port, struct err *err)
{
    struct nfc_stream stream = {.fd = -1, .role = ROLE_ESXI, .silence_ms = GREETING_MS};
    char line[GREETING_SIZE];
    bool ok = nfc_stream_connect(&stream, host, port, err) &&
              nfc_stream_read_line(&stream, line, sizeof line, err);
    nfc_stream_close(&stream);
    if (ok && !text_starts_with(line, "220"))
        return err_set(err, FAIL_TRANSIENT, "'%s' port %u answers '%.100s'", host, port,
                       line);
    return ok;
}

static bool on_host(void *arg, const struct vim_host *host, struct err *err)
{
    struct vsphere_hosts *hosts = arg;
    (void)err;
    if (hosts->count == hosts->cap) {
        hosts->cap = hosts->cap ? 2 * hosts->cap : 16;
        hosts->items = xrealloc(hosts->items, hosts->cap, sizeof *hosts->items);
    }
    struct host_entry *to = &hosts->items[hosts->count++];
    *to = (struct host_entry){.ref = host->ref, .parent = host->parent};
    text_copy(to->name, sizeof to->name, host->name);
    text_copy(to->connection, sizeof to->connection, host->connection);
    return true;
}

static struct vsphere_hosts *need_hosts(struct vsphere_source *source, struct err *err)
{
    if (source->hosts)
        return source->hosts;
    struct vsphere_hosts *hosts = xcalloc(1, sizeof *hosts);
    struct vim_visitor visitor = {.arg = hosts, .host = on_host};
    if (vim_inventory_walk(source->vim, &visitor, NULL, err)) {
        source->hosts = hosts;
        return hosts;
    }
    vsphere_hosts_free(hosts);
    return NULL;
}

static void tell_host(const char *name, const struct err *failed, bool is_current,
                      struct findings *findings)
{
    struct finding *f;
    if (failed->kind == FAIL_NONE) {
        f = add(findings, FINDING_OK, "host.nfc", "host", name);
        WHY(f, "its NFC service answers");
        return;
    }
    f = add(findings, is_current ? FINDING_BLOCKER : FINDING_WARNING, "host.nfc", "host",
            name);
    WHY(f, "%s%.250s", is_current ? "" : "the machine may move there: ", failed->text);
    REMEDY(f,
           "let this name be resolved here (DNS or /etc/hosts) and TCP port %d of the "
           "host be reached from here",
           AUTHD_PORT);
}

/* The host that serves the disks now, as its ticket tells it. */
static void check_current(struct vsphere_source *source,
                          const struct vim_machine *machine, struct host_entry *entry,
                          struct findings *findings)
{
    struct vim_ticket ticket;
    struct err err = ERR_INIT;
    const char *name = entry ? entry->name : vim_host_name(source->vim);
    if (!entry || !entry->is_dialled) {
        if (!vim_nfc_ticket(source->vim, &machine->ref, NULL, &ticket, &err)) {
            struct finding *f =
                add(findings, FINDING_WARNING, "host.ticket", "machine", machine->name);
            WHY(f, "no ticket to read its disks: %.250s", err.text);
            REMEDY(f, "see the privileges below");
            return;
        }
        const char *dial = ticket.host[0] ? ticket.host : vim_host_name(source->vim);
        bool ok = greets(dial, ticket.port, &err);
        vim_ticket_wipe(&ticket);
        if (ok)
            err_clear(&err);
        if (entry) {
            entry->is_dialled = entry->is_tried = true;
            entry->failed = err;
        }
    } else {
        err = entry->failed;
    }
    tell_host(name, &err, true, findings);
}

static void check_neighbour(struct host_entry *entry, struct findings *findings)
{
    if (!entry->is_tried) {
        entry->is_tried = true;
        if (strcmp(entry->connection, "connected") == 0 &&
            greets(entry->name, AUTHD_PORT, &entry->failed))
            err_clear(&entry->failed);
    }
    if (entry->failed.kind != FAIL_NONE)
        tell_host(entry->name, &entry->failed, false, findings);
}

static void check_hosts(struct vsphere_source *source, const struct vim_machine *machine,
                        struct findings *findings)
{
    struct err ignored = ERR_INIT;
    struct vsphere_hosts *hosts = need_hosts(source, &ignored);
    struct host_entry *current = NULL;
    for (size_t i = 0; hosts && i < hosts->count; i++)
        if (vim_ref_equal(&hosts->items[i].ref, &machine->host))
            current = &hosts->items[i];
    if (current && strcmp(current->connection, "connected") != 0) {
        struct finding *f =
            add(findings, FINDING_BLOCKER, "host.connection", "host", current->name);
        WHY(f, "the vCenter shows it as '%s'", current->connection);
        REMEDY(f, "bring it back, or move the machine to another host");
        return;
    }
    check_current(source, machine, current, findings);
    for (size_t i = 0; current && i < hosts->count; i++)
        if (&hosts->items[i] != current &&
            strcmp(current->parent.type, "ClusterComputeResource") == 0 &&
            vim_ref_equal(&hosts->items[i].parent, &current->parent))
            check_neighbour(&hosts->items[i], findings);
}

/* ---- datastores ---- */

static void check_datastore(const struct vsphere_source *source,
                            const struct vim_ref *ref, struct findings *findings)
{
    struct err err = ERR_INIT;
    struct finding *f;
    char free_text[TEXT_HUMAN_BYTES], floor_text[TEXT_HUMAN_BYTES];
    AUTO(vim_datastore_free)
    struct vim_datastore *store = vim_datastore_get(source->vim, ref, NULL, &err);
    if (!store) {
        f = add(findings, FINDING_WARNING, "datastore.unknown", "datastore", ref->id);
        WHY(f, "it cannot be asked for its free space: %.240s", err.text);
        REMEDY(f, "give the account System.Read on it");
        return;
    }
    if (!store->is_accessible) {
        f = add(findings, FINDING_BLOCKER, "datastore.access", "datastore", store->name);
        WHY(f, "it is not accessible");
        REMEDY(f, "bring the storage back");
        return;
    }
    bool is_low = store->free_bytes < source->floor_bytes;
    bool is_near = !is_low && store->free_bytes / 2 < source->floor_bytes;
    f = add(findings,
            is_low    ? FINDING_BLOCKER
            : is_near ? FINDING_WARNING
                      : FINDING_OK,
            "datastore.space", "datastore", store->name);
    WHY(f, "%s free; cycles need %s (datastore_floor)",
        text_bytes(store->free_bytes, free_text),
        text_bytes(source->floor_bytes, floor_text));
    if (is_low || is_near)
        REMEDY(f, "free space: a snapshot grows there by what the guest writes while a "
                  "cycle runs");
}

static void check_datastores(const struct vsphere_source *source,
                             const struct vim_machine *machine, struct findings *findings)
{
    for (size_t i = 0; i < machine->disk_count; i++) {
        const struct vim_ref *ref = &machine->disks[i].datastore;
        bool is_known = !vim_ref_is_set(ref);
        for (size_t j = 0; j < i; j++)
            is_known = is_known || vim_ref_equal(&machine->disks[j].datastore, ref);
        if (!is_known)
            check_datastore(source, ref, findings);
    }
}

/* ---- privileges ---- */

struct privilege {
    const char *id;
    const char *purpose;
    const char *transport;          /* needed only with that one; NULL: always */
    enum finding_severity severity; /* when it is missing */
};

/* Sources: the privilege of each method in the published type tables (pyVmomi), and the
 * role that Azure Migrate's documentation asks for. */
static const struct privilege OF_MACHINE[] = {
    {"VirtualMachine.Config.ChangeTracking", "switch change tracking on", NULL,
     FINDING_BLOCKER},
    {"VirtualMachine.State.CreateSnapshot", "create a cycle's snapshot", NULL,
     FINDING_BLOCKER},
    {"VirtualMachine.State.RemoveSnapshot", "remove it and consolidate", NULL,
     FINDING_BLOCKER},
    {"VirtualMachine.Provisioning.DiskRandomRead", "ask for changed areas", NULL,
     FINDING_BLOCKER},
    {"VirtualMachine.Provisioning.GetVmFiles", "read disks over NFC", "nfc",
     FINDING_BLOCKER},
    {"VirtualMachine.Provisioning.DiskRandomAccess", "read disks by the vendor's library",
     "vddk", FINDING_WARNING},
    {"VirtualMachine.Config.DiskLease", "read disks by the vendor's library", "vddk",
     FINDING_WARNING},
    {"VirtualMachine.Interact.PowerOff", "shut the machine down at its migration", NULL,
     FINDING_WARNING},
    {"VirtualMachine.Interact.PowerOn", "power it on again when the migration fails",
     NULL, FINDING_WARNING},
};
static const struct privilege OF_DATASTORE[] = {
    {"Datastore.Browse", "read disk files over HTTPS", "https", FINDING_WARNING},
    {"Datastore.FileManagement", "read disk files over HTTPS", "https", FINDING_WARNING},
};

static const struct privilege OF_GATEWAY[] = {
    {"VirtualMachine.Config.AddExistingDisk", "attach disks to it and read them there",
     "hotadd", FINDING_WARNING},
    {"VirtualMachine.Config.RemoveDisk", "detach them again", "hotadd", FINDING_WARNING},
};

struct entity {
    struct vim_ref ref;
    const char *kind;
    const char *name;
};

static void tell_missing(const struct vsphere_source *source, const struct entity *entity,
                         const struct privilege *privilege, struct findings *findings)
{
    struct finding *f = findings_add(findings, privilege->severity, "privilege.missing");
    (void)snprintf(f->what, sizeof f->what, "privilege %s on %s '%.60s'", privilege->id,
                   entity->kind, entity->name);
    WHY(f, "account '%.80s' does not have it; it is needed to %s", source->user,
        privilege->purpose);
    REMEDY(f,
           "add it to the account's role, and give the role on this %s or on the "
           "datacenter above it with propagation",
           entity->kind);
}

static void check_privileges(const struct vsphere_source *source,
                             const struct entity *entity,
                             const struct privilege *privileges, size_t count,
                             struct findings *findings)
{
    const char *ids[ARRAY_COUNT(OF_MACHINE)];
    const struct privilege *asked[ARRAY_COUNT(OF_MACHINE)];
    bool has[ARRAY_COUNT(OF_MACHINE)];
    size_t ask_count = 0, missing = 0;
    struct err err = ERR_INIT;
    for (size_t i = 0; i < count; i++) {
        if (privileges[i].transport && !uses(source, privileges[i].transport))
            continue;
        asked[ask_count] = &privileges[i];
        ids[ask_count++] = privileges[i].id;
    }
    if (ask_count == 0)
        return;
    struct vim_privilege_ask ask = {
        .entity = entity->ref, .ids = ids, .id_count = ask_count};
    if (!vim_privileges_check(source->vim, &ask, NULL, has, &err)) {
        struct finding *f = add(findings, FINDING_WARNING, "privilege.unknown",
                                entity->kind, entity->name);
        WHY(f, "the account's privileges on it were not checked: %.220s", err.text);
        REMEDY(f, "a missing one shows in the first cycle, by name");
        return;
    }
    for (size_t i = 0; i < ask_count; i++) {
        if (has[i])
            continue;
        missing++;
        tell_missing(source, entity, asked[i], findings);
    }
    if (missing == 0) {
        struct finding *f =
            add(findings, FINDING_OK, "privilege", entity->kind, entity->name);
        WHY(f, "the account has all %zu privileges", ask_count);
    }
}

/* The machine that we run in, to which hotadd attaches disks. */
static void check_gateway(const struct vsphere_source *source,
                          const struct vim_machine *machine, struct findings *findings)
{
    struct hotadd_gateway gateway;
    struct err err = ERR_INIT;
    const char *name = source->hotadd_machine ? source->hotadd_machine : "this system";
    if (!hotadd_gateway_find(source->vim, source->hotadd_machine, NULL, &gateway, &err)) {
        struct finding *f =
            add(findings, FINDING_WARNING, "hotadd.gateway", "machine", name);
        WHY(f, "disks are not read by hotadd: %.250s", err.text);
        REMEDY(f, "run kedged in a machine of this server and name it (hotadd_machine), "
                  "or take hotadd out of the source's transports");
        return;
    }
    if (vim_ref_equal(&gateway.vm, &machine->ref)) {
        struct finding *f =
            add(findings, FINDING_WARNING, "hotadd.gateway", "machine", machine->name);
        WHY(f, "kedged runs in it, and hotadd does not read the machine it runs in");
        REMEDY(f, "let another transport follow hotadd in the source's transports");
        return;
    }
    struct entity entity = {gateway.vm, "machine", name};
    check_privileges(source, &entity, OF_GATEWAY, ARRAY_COUNT(OF_GATEWAY), findings);
}

void vsphere_check_places(struct vsphere_source *source,
                          const struct vim_machine *machine, struct findings *findings)
{
    struct entity entity = {machine->ref, "machine", machine->name};
    if (uses(source, "nfc"))
        check_hosts(source, machine, findings);
    if (uses(source, "hotadd"))
        check_gateway(source, machine, findings);
    check_datastores(source, machine, findings);
    check_privileges(source, &entity, OF_MACHINE, ARRAY_COUNT(OF_MACHINE), findings);
    for (size_t i = 0; i < machine->disk_count; i++) {
        char name[80];
        const struct vim_disk *disk = &machine->disks[i];
        bool is_known = !vim_ref_is_set(&disk->datastore);
        for (size_t j = 0; j < i; j++)
            is_known =
                is_known || vim_ref_equal(&machine->disks[j].datastore, &disk->datastore);
        vsphere_datastore_of(disk->file_name, name, sizeof name);
        entity = (struct entity){disk->datastore, "datastore", name};
        if (!is_known)
            check_privileges(source, &entity, OF_DATASTORE, ARRAY_COUNT(OF_DATASTORE),
                             findings);
    }
}
