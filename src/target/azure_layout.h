/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layout of one machine's replica in Azure: which page blob or managed disk each of
 * its disks is, and everything that was made for its tests and its VM. Kept in the blob
 * `<machine id>/replica.json` beside the page blobs, replaced as a whole.
 *
 * L1  what costs money is named here before it is made, and until it is gone: whatever a
 *     crash or a refusal leaves behind is known and removed by the next call. Snapshots,
 *     whose names the service gives, are found by listing those of the machine's blobs;
 * L2  one change of the layout is one put of the blob: old or new, never a mix;
 * L3  the layout is the last thing of a machine to go.
 */
#ifndef TARGET_AZURE_LAYOUT_H
#define TARGET_AZURE_LAYOUT_H

#include "azure/compute.h"
#include "azure/page_blob.h"

#define AZURE_MAX_TESTS  8
#define AZURE_BLOB_BYTES 64 /* "<machine id>/disk59.vhd" */

enum azure_kind {
    AZURE_PAGE_BLOB, /* a page blob; imported when a VM is made */
    AZURE_UPLOAD,    /* a managed disk that is being uploaded until the migration */
};

struct azure_layout_disk {
    enum azure_kind kind;
    uint64_t disk_bytes;
    uint64_t resize_to_bytes; /* a change of size that was begun; 0: none */
    bool is_made;
    bool was_opened;              /* for writing: it may hold more than zeros */
    bool is_sealed;               /* upload: ended, for good */
    char upload_id[ARM_ID_BYTES]; /* upload: the managed disk */
};

/*
 * stage       what holds                                    left by
 * NAMED       every name is here, any part may exist        all blobs have a snapshot
 * FROZEN      the snapshots are here, too                   disks and NICs are made
 * STARTING    the VM may exist and may have run             it runs
 * RUNS        it was made                                   clean-up, or complete
 * LEAVING     any part may be gone                          all are gone: no set any more
 *
 * The set of a test stays FROZEN here until it is LEAVING.
 */
enum azure_stage {
    AZURE_NAMED,
    AZURE_FROZEN,
    AZURE_STARTING,
    AZURE_RUNS,
    AZURE_LEAVING,
};

/* A VM and all that was made for it. */
struct azure_set {
    char test[MACHINE_NAME_BYTES]; /* "": the migrated machine */
    enum azure_stage stage;
    bool is_stale; /* the replica went on: what is here must not become the VM */
    char vm_id[ARM_ID_BYTES];
    char snapshots[MACHINE_MAX_DISKS][PAGE_SNAPSHOT_BYTES]; /* "": none, or an upload */
    char disk_ids[MACHINE_MAX_DISKS][ARM_ID_BYTES];
    size_t nic_count;
    char nic_ids[MACHINE_MAX_NICS][ARM_ID_BYTES];
};

struct azure_layout {
    struct machine_def machine; /* as of replica_create and the resizes since */
    struct azure_layout_disk disks[MACHINE_MAX_DISKS];
    size_t test_count;
    struct azure_set tests[AZURE_MAX_TESTS];
    bool has_vm;
    struct azure_set vm;
};

MUST_CHECK struct azure_layout *azure_layout_new(const struct machine_def *machine);
void azure_layout_free(struct azure_layout *layout);
AUTO_CLEANUP(struct azure_layout, azure_layout_free);

/* machine_name: for errors. FAIL_GONE: no replica of that machine there. */
MUST_CHECK struct azure_layout *azure_layout_read(struct blob_container *container,
                                                  const struct id *machine,
                                                  const char *machine_name,
                                                  struct err *err);
MUST_CHECK bool azure_layout_save(struct blob_container *container,
                                  const struct azure_layout *layout, struct err *err);
MUST_CHECK bool azure_layout_remove(struct blob_container *container,
                                    const struct azure_layout *layout, struct err *err);

/* As text; exposed for tests. ret: appended; FAIL_CORRUPT names what is wrong. */
void azure_layout_print(const struct azure_layout *layout, struct buf *ret);
MUST_CHECK struct azure_layout *azure_layout_parse(const char *text, size_t text_bytes,
                                                   struct err *err);

/* "<machine id>/disk<N>.vhd", "<machine id>/replica.json"; out is returned. */
const char *azure_blob_name(const struct azure_layout *layout, size_t disk_index,
                            char out[AZURE_BLOB_BYTES]);
const char *azure_layout_name(const struct id *machine, char out[AZURE_BLOB_BYTES]);

/* NULL: no such test. */
struct azure_set *azure_layout_test(struct azure_layout *layout, const char *test);
void azure_layout_drop_set(struct azure_layout *layout, const struct azure_set *set);
/* The VM runs or may have run: the replica must not change any more. */
bool azure_layout_is_migrated(const struct azure_layout *layout);

#endif
