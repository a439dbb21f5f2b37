/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All there is on a server, told object by object: places (datacenters, folders, ...),
 * clusters, hosts, datastores and networks first, then the machines in pages. Memory is
 * bounded by the places and by one page of machines, whatever the size of the inventory;
 * objects that vanish meanwhile are left out. Names are decoded as in vim_machine.h.
 */
#ifndef VSPHERE_VIM_INVENTORY_H
#define VSPHERE_VIM_INVENTORY_H

#include "vsphere/vim_machine.h"

/* Datacenter, Folder, ComputeResource, ClusterComputeResource, VirtualApp. */
struct vim_place {
    struct vim_ref ref;
    struct vim_ref parent;
    const char *name;
    const char *path; /* "DC0/host/Cluster 1"; the root folder is not in it */
};

struct vim_host {
    struct vim_ref ref;
    struct vim_ref parent; /* ComputeResource or ClusterComputeResource */
    const char *name;      /* DNS name or address as the vCenter knows it */
    const char *path;
    const char *version; /* "8.0.2"; "" while it is not connected for the first time */
    const char *build;
    const char *connection; /* "connected", "disconnected", "notResponding" */
    const char *power;      /* "poweredOn", "standBy", ... */
    bool is_in_maintenance;
    uint32_t cpu_threads;
    uint64_t memory_bytes;
};

struct vim_datastore {
    struct vim_ref ref;
    const char *name;
    const char *datacenter; /* name; "" on a bare host's own ("ha-datacenter") */
    const char *type;       /* "VMFS", "NFS", "vsan", "VVOL", ... */
    const char *url;        /* "ds:///vmfs/volumes/.../" */
    uint64_t capacity_bytes;
    uint64_t free_bytes;
    bool is_accessible;
    bool is_in_maintenance;
    bool is_shared; /* by several hosts */
};

struct vim_network {
    struct vim_ref ref;
    const char *name;
    const char *portgroup_key; /* of a distributed port group; "" */
};

/* Each may be NULL: then these are not asked for either, unless something else needs
 * them. What is passed lives during the callback. false: stop, *err is set and becomes
 * the walk's. Called in the walking thread. */
struct vim_visitor {
    void *arg;
    bool (*place)(void *arg, const struct vim_place *place, struct err *err);
    bool (*host)(void *arg, const struct vim_host *host, struct err *err);
    bool (*datastore)(void *arg, const struct vim_datastore *datastore, struct err *err);
    bool (*network)(void *arg, const struct vim_network *network, struct err *err);
    bool (*machine)(void *arg, const struct vim_machine *machine, struct err *err);
};

/* FAIL_LIMIT: more than VIM_INVENTORY_MAX objects of one kind. */
#define VIM_INVENTORY_MAX 200000
MUST_CHECK bool vim_inventory_walk(struct vim *vim, const struct vim_visitor *visitor,
                                   const struct cancel *cancel, struct err *err);

/* One datastore or host, with name and path as in the walk but for path and datacenter,
 * which are "". The caller frees. */
MUST_CHECK struct vim_datastore *vim_datastore_get(struct vim *vim,
                                                   const struct vim_ref *ref,
                                                   const struct cancel *cancel,
                                                   struct err *err);
void vim_datastore_free(struct vim_datastore *datastore);
AUTO_CLEANUP(struct vim_datastore, vim_datastore_free);
MUST_CHECK struct vim_host *vim_host_get(struct vim *vim, const struct vim_ref *ref,
                                         const struct cancel *cancel, struct err *err);
void vim_host_free(struct vim_host *host);
AUTO_CLEANUP(struct vim_host, vim_host_free);

#endif
