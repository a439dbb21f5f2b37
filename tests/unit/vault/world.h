/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole vault in a temporary folder: source "src" (one image of 8 MiB, 3 of them in
 * use), target "dst" (local, raw), folder stores. cmocka assertions inside.
 */
#ifndef TEST_WORLD_H
#define TEST_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "vault/vault.h"

#define DISK_BYTES (8 * MIB)
#define PATH_BYTES 256

struct world {
    char dir[64];
    char image[PATH_BYTES];
    char data[PATH_BYTES];
    char log[PATH_BYTES];
    char state[PATH_BYTES];
    char key[PATH_BYTES];
    char replicas[PATH_BYTES];
    const char *timezone;      /* for the next world_open; NULL: the system's */
    const char *blackout_file; /* the same; NULL: none */
    uint8_t *content;          /* what the source disk holds */
    struct vault *vault;
};

int world_set_up(void **state);
int world_tear_down(void **state);

/* Random bytes by seed; 0: zeros. */
void world_write(struct world *w, uint64_t offset, size_t bytes, unsigned seed);
void world_open(struct world *w);
void world_reopen(struct world *w);

/* Waits for the job's end; the job's view. */
json_t *world_wait_job(struct world *w, uint64_t id);
void world_expect_job(struct world *w, uint64_t id, const char *expected);
uint64_t world_ask(struct world *w, enum vault_operation operation);
uint64_t world_replicate(struct world *w);
json_t *world_show(struct world *w);
void world_expect_state(struct world *w, const char *expected);
void world_expect_equal(struct world *w);
/* No job, no cycle, no error, and the next cycle lies ahead. */
void world_wait_idle(struct world *w);

void world_touch(const char *path, bool is_there);
/* Source "bad" and target "bad" misbehave while their trigger file exists. */
void world_add_bad_ends(struct world *w, const char *kind, const char *source_trigger,
                        const char *target_trigger);

#endif
