/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay_X CORPUS        runs each seed, then MUTATIONS seeded mutations of each one
 * replay_X CORPUS OUT    writes the seeds as raw files to OUT, to start libFuzzer with
 *
 * Seeds are hex text (*.hex): they can be read, reviewed and merged. A crash found by
 * fuzzing becomes a seed (xxd -p crash > corpus/X/name.hex).
 */
#include "fuzz.h"

#include "base/file.h"
#include "base/text.h"

#include <ctype.h>
#include <dirent.h>

#define SEED_MAX_BYTES (4 * MIB)
#define MUTATIONS      400

static uint64_t prng_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* An exact allocation each time: a sanitizer sees each byte read beyond the input. */
static void run(const uint8_t *data, size_t data_bytes)
{
    AUTO(free) uint8_t *exact = xcalloc(1, data_bytes);
    if (data_bytes)
        memcpy(exact, data, data_bytes);
    (void)LLVMFuzzerTestOneInput(exact, data_bytes); /* always 0 */
}

static void run_mutations(const struct buf *seed)
{
    AUTO(free) uint8_t *copy = xcalloc(1, seed->bytes);
    uint64_t state = seed->bytes;
    for (size_t round = 0; round < MUTATIONS && seed->bytes; round++) {
        size_t bytes = seed->bytes;
        memcpy(copy, seed->data, bytes);
        for (uint64_t n = 1 + prng_next(&state) % 4; n > 0; n--) {
            size_t at = prng_next(&state) % bytes;
            switch (prng_next(&state) % 4) {
            case 0:
                copy[at] ^= (uint8_t)(1u << prng_next(&state) % 8);
                break;
            case 1:
                copy[at] = (uint8_t)prng_next(&state);
                break;
            case 2:
                copy[at] = prng_next(&state) % 2 ? 0xff : 0;
                break;
            default:
                bytes = at + 1;
                break;
            }
        }
        run(copy, bytes);
    }
}

static bool load(const char *path, struct buf *ret, struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    if (!file_read(path, 2 * SEED_MAX_BYTES, &text, err))
        return false;
    size_t digits = 0;
    for (size_t i = 0; i < text.bytes; i++)
        if (!isspace(text.data[i]))
            text.data[digits++] = text.data[i];
    if (!text.data)
        return err_set(err, FAIL_INPUT, "seed '%s' is empty", path);
    text.data[digits] = 0;
    buf_reserve(ret, digits / 2);
    if (!text_unhex((const char *)text.data, ret->data, digits / 2, err))
        return err_wrap(err, "seed '%s'", path);
    ret->bytes = digits / 2;
    return true;
}

static bool handle(const char *dir, const char *name, const char *out_dir,
                   struct err *err)
{
    AUTO(buf_release) struct buf seed = {0};
    AUTO(free) char *path = file_join(dir, name);
    if (!load(path, &seed, err))
        return false;
    if (out_dir) {
        AUTO(free) char *out_path = file_join(out_dir, name);
        return file_write_durable(out_path, seed.data, seed.bytes, 0644, err);
    }
    run(seed.data, seed.bytes);
    run_mutations(&seed);
    return true;
}

int main(int argc, char **argv)
{
    struct err err = ERR_INIT;
    size_t count = 0;
    bool ok = true;
    DIR *dir = argc == 2 || argc == 3 ? opendir(argv[1]) : NULL;
    if (!dir) {
        fprintf(stderr, "usage: %s CORPUS [OUT]\n", argv[0]);
        return 2;
    }
    for (struct dirent *entry; ok && (entry = readdir(dir));) {
        if (!text_ends_with(entry->d_name, ".hex"))
            continue;
        ok = handle(argv[1], entry->d_name, argc == 3 ? argv[2] : NULL, &err);
        count += ok;
    }
    (void)closedir(dir); /* only read */
    if (!ok || count == 0) {
        fprintf(stderr, "%s: %s\n", argv[0], ok ? "no seeds" : err.text);
        return 1;
    }
    printf("%zu seeds replayed\n", count);
    return 0;
}
