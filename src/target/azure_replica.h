/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A replica disk in Azure: the data part of a fixed VHD in a page blob, or in a managed
 * disk that is being uploaded. Both are written with Put Page through a few connections,
 * as many as the service takes without asking to slow down (additive increase,
 * multiplicative decrease), within its limits per blob (500 requests and 60 MiB a
 * second).
 *
 * Puts that follow each other become requests of 3 to 4 MiB. Each writer has
 * AZURE_WRITER_BYTES of buffers; all writers of a disk share its lanes. Closing a writer
 * that was not drained ends what is under way.
 *
 * The rows of the operations table that concern open disks and writers; the table itself
 * is target_azure.c's. A flush is a drain: an answered Put Page is durable.
 */
#ifndef TARGET_AZURE_REPLICA_H
#define TARGET_AZURE_REPLICA_H

#include "azure/page_blob.h"
#include "target/target.h"

#define AZURE_WRITER_BYTES (16 * MIB)

struct azure_replica_spec {
    struct page_blob *blob; /* owned by the disk from here on, also on failure */
    const char *label;      /* for errors; copied */
    uint64_t disk_bytes;    /* of the machine's disk; the blob is larger */
    bool for_writing;
    bool is_new;               /* nothing but zeros so far: zeros need no clear */
    uint32_t max_lanes;        /* connections at once; 0: 8 */
    bool no_rate_limit;        /* an emulator: not the service's limits per blob */
    void (*closed)(void *ctx); /* the disk is closed, or was not opened; once; NULL */
    void *ctx;
};

MUST_CHECK bool azure_replica_open(const struct target_ops *ops,
                                   const struct azure_replica_spec *spec,
                                   struct replica_disk **ret, struct err *err);

bool azure_replica_read(struct replica_disk *disk, uint64_t offset_bytes, uint8_t *data,
                        size_t data_bytes, struct err *err);
bool azure_replica_flush(struct replica_disk *disk, struct err *err);
uint64_t azure_replica_bytes(const struct replica_disk *disk);
void azure_replica_close(struct replica_disk *disk);
bool azure_replica_allocated(struct replica_disk *disk, struct extents *ret,
                             struct err *err);
bool azure_writer_open(struct replica_disk *disk, struct replica_writer **ret,
                       struct err *err);
uint8_t *azure_writer_room(struct replica_writer *writer);
bool azure_writer_put(struct replica_writer *writer, uint64_t offset_bytes,
                      const uint8_t *data, size_t data_bytes, struct err *err);
bool azure_writer_zero(struct replica_writer *writer, uint64_t start_bytes,
                       uint64_t end_bytes, struct err *err);
bool azure_writer_drain(struct replica_writer *writer, struct err *err);
void azure_writer_close(struct replica_writer *writer);

#endif
