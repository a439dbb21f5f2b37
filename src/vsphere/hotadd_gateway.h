/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine that we run in, as a machine of the server: which one it is, disks attached
 * to it and taken off again. For the hotadd transport and its pre-flight. Any thread.
 */
#ifndef VSPHERE_HOTADD_GATEWAY_H
#define VSPHERE_HOTADD_GATEWAY_H

#include "vsphere/hotadd_record.h"
#include "vsphere/vim_machine.h"

struct hotadd_gateway {
    struct vim *vim; /* borrowed */
    struct vim_ref vm;
    char server[128]; /* for the record */
};

/* name: instance UUID or name of our machine; NULL: by this system's BIOS UUID.
 * FAIL_CONFLICT: it is not a machine of this server, or one of several. */
MUST_CHECK bool hotadd_gateway_find(struct vim *vim, const char *name,
                                    const struct cancel *cancel,
                                    struct hotadd_gateway *ret, struct err *err);

/* The same by a BIOS UUID as Linux tells it. */
MUST_CHECK bool hotadd_find_by_bios_uuid(struct vim *vim, const char *uuid,
                                         const struct cancel *cancel, struct vim_ref *ret,
                                         struct err *err);

/* The UUID with the bytes of its first three groups turned round; false: not a UUID.
 * Pure.
 */
#define HOTADD_UUID_BYTES 37
MUST_CHECK bool hotadd_uuid_turned(const char *uuid, char ret[HOTADD_UUID_BYTES]);

/*
 * Records, then attaches the file, non-persistent. ret_uuid: of its backing. When it
 * fails, nothing of it is attached, or the record still holds it. FAIL_CONFLICT: the file
 * is attached already by somebody else, no unit is free, the server refuses.
 */
#define HOTADD_DISK_UUID_BYTES 64
MUST_CHECK bool hotadd_attach(const struct hotadd_gateway *gateway,
                              struct hotadd_record *record, const char *file_name,
                              const struct cancel *cancel,
                              char ret_uuid[HOTADD_DISK_UUID_BYTES], struct err *err);

/* Takes off what stands in the record, tries several times each, and drops it there. Not
 * attached (any more): success. What could not be taken off stays in the record. Entries
 * of other servers are left alone. Not cancelable. */
MUST_CHECK bool hotadd_detach_all(const struct hotadd_gateway *gateway,
                                  struct hotadd_record *record, struct err *err);

/* As above for one file that hotadd_attach attached. */
MUST_CHECK bool hotadd_detach(const struct hotadd_gateway *gateway,
                              struct hotadd_record *record, const char *file_name,
                              struct err *err);

/* Records of a folder (NULL: HOTADD_RECORD_DIR) that nobody holds are leftovers: their
 * disks are taken off, those of this server. What does not succeed is logged (debug) and
 * stays for the next time. Without records it asks the server nothing. */
void hotadd_sweep(struct vim *vim, const char *dir);

#endif
