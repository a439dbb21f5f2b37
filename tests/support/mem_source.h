/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source for tests: disks in memory, change tracking as the contract of source/source.h
 * demands, with state that survives source_close like a VM's (struct mem_vm), so that
 * crashes of the gateway can be played by just dropping the source.
 */
#ifndef TESTS_SUPPORT_MEM_SOURCE_H
#define TESTS_SUPPORT_MEM_SOURCE_H

#include "source/source.h"

struct mem_vm;

MUST_CHECK struct mem_vm *mem_vm_new(size_t disk_count, uint64_t disk_bytes);
void mem_vm_free(struct mem_vm *vm);

/* The guest writes: content now, and noted by every active record of changes. */
void mem_vm_write(struct mem_vm *vm, size_t disk, uint64_t offset_bytes, const void *data,
                  size_t data_bytes);
const uint8_t *mem_vm_disk(const struct mem_vm *vm, size_t disk);
/* As a power cut of the hypervisor: change records are lost. */
void mem_vm_lose_tracking(struct mem_vm *vm);
/* The snapshot that is open now, if any, is lost (the hypervisor restarted). */
void mem_vm_lose_snapshot(struct mem_vm *vm);
void mem_vm_resize(struct mem_vm *vm, size_t disk, uint64_t disk_bytes);
/* Reports allocated areas and changes at this granularity (default 4096). */
void mem_vm_set_granularity(struct mem_vm *vm, uint64_t bytes);
/* From now on the guest's writes are not noted: change tracking lies. */
void mem_vm_lie(struct mem_vm *vm, bool lies);
/* Reads of the current snapshot fail from now on. */
void mem_vm_fail_reads(struct mem_vm *vm, bool fail);

/* Definition with ids set (fixed by name). */
void mem_vm_define(const struct mem_vm *vm, const char *name, struct machine_def *ret);

MUST_CHECK struct source *mem_source_new(struct mem_vm *vm);

#endif
