/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device as which an attached disk shows up in this machine's Linux. Internal
 * to the hotadd transport.
 *
 * Facts: with disk.EnableUUID = TRUE a virtual SCSI disk tells its backing's UUID as its
 * NAA identifier, from which udev makes /dev/disk/by-id/wwn-0x<uuid> and scsi-3<uuid>
 * (lower case, without dashes).
 */
#ifndef VSPHERE_HOTADD_DEVICE_H
#define VSPHERE_HOTADD_DEVICE_H

#include "vsphere/transport.h"

struct hotadd_device;

struct hotadd_device_place {
    const char *dir;     /* "/dev/disk/by-id" */
    const char *uuid;    /* of the disk's backing, as the server writes it */
    uint64_t disk_bytes; /* what its size must be */
    uint32_t wait_ms;    /* for it to appear */
};
/* FAIL_CONFLICT: it does not appear, or has another size; FAIL_AUTH: we may not open it.
 */
MUST_CHECK bool hotadd_device_open(const struct hotadd_device_place *place,
                                   const struct cancel *cancel,
                                   struct hotadd_device **ret, struct err *err);
/* The whole range or nothing, FAIL_TRANSIENT. Any thread, several at once. */
MUST_CHECK bool hotadd_device_read(const struct hotadd_device *device,
                                   struct lane_read *read, struct err *err);
void hotadd_device_close(struct hotadd_device *device);
AUTO_CLEANUP(struct hotadd_device, hotadd_device_close);

#endif
