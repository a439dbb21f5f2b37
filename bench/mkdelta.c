/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes a copy of a disk image in place, the same way for the same seed, and writes the
 * list of changed extents ("offset length" in bytes, one a line, ascending, merged).
 *
 *   mkdelta random IMAGE EXTENTS SEED PERCENT   PERCENT of all 64 KiB blocks, anywhere
 *   mkdelta churn  IMAGE EXTENTS SEED BYTES     every other 4 KiB of the first BYTES-long
 *                                               range that is (nearly) all data
 *   mkdelta stat   IMAGE                        share of non-zero 64 KiB blocks
 *
 * New content looks real: it is a piece of data from elsewhere in the image, at a
 * distance that is no multiple of 4 KiB (so that no fixed chunking finds it again), with
 * 16 random bytes at the head of each 4 KiB (so that every 4 KiB really differs and none
 * repeats).
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "measure.h"

#define BLOCK (64 * KIB)
#define CELL  (4 * KIB)

struct image {
    int fd;
    uint64_t size_bytes;
    uint64_t state;   /* of splitmix64 */
    uint8_t *is_data; /* one byte a block, from before any change */
    uint64_t blocks;
    uint64_t data_blocks;
    FILE *extents;
    uint64_t run_start, run_bytes; /* extent not yet written */
};

static uint64_t next_random(struct image *img)
{
    uint64_t z = (img->state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void read_at(int fd, void *buf, size_t bytes, uint64_t offset)
{
    if (pread(fd, buf, bytes, (off_t)offset) != (ssize_t)bytes)
        die("read %zu bytes at %" PRIu64, bytes, offset);
}

static void image_open(struct image *img, const char *path, int flags)
{
    static uint8_t buf[BLOCK];
    struct stat st;

    img->fd = open(path, flags | O_CLOEXEC);
    if (img->fd < 0 || fstat(img->fd, &st) != 0)
        die("open '%s'", path);
    img->size_bytes = (uint64_t)st.st_size;
    img->blocks = img->size_bytes / BLOCK;
    img->is_data = alloc_touched((size_t)img->blocks);
    for (uint64_t i = 0; i < img->blocks; i++) {
        read_at(img->fd, buf, BLOCK, i * BLOCK);
        img->is_data[i] = buf[0] != 0 || memcmp(buf, buf + 1, BLOCK - 1) != 0;
        img->data_blocks += img->is_data[i];
    }
    if (img->blocks < 4 || img->data_blocks < 4)
        die("'%s' has too little data", path);
}

static void extent_flush(struct image *img)
{
    if (img->run_bytes > 0)
        fprintf(img->extents, "%" PRIu64 " %" PRIu64 "\n", img->run_start,
                img->run_bytes);
    img->run_bytes = 0;
}

static void extent_add(struct image *img, uint64_t offset, uint64_t bytes)
{
    if (img->run_bytes > 0 && img->run_start + img->run_bytes == offset) {
        img->run_bytes += bytes;
        return;
    }
    extent_flush(img);
    img->run_start = offset;
    img->run_bytes = bytes;
}

/* Both blocks that the piece may touch were data before the first change. */
static uint64_t pick_source(struct image *img)
{
    for (;;) {
        uint64_t block = next_random(img) % (img->blocks - 1);
        uint64_t shift = 1 + next_random(img) % (BLOCK / 512 - 1);
        if (img->is_data[block] && img->is_data[block + 1] && (shift * 512) % CELL != 0)
            return block * BLOCK + shift * 512;
    }
}

static void change(struct image *img, uint64_t offset, size_t bytes)
{
    static uint8_t buf[BLOCK];

    read_at(img->fd, buf, bytes, pick_source(img));
    for (size_t at = 0; at < bytes; at += CELL) {
        uint64_t stamp[2] = {next_random(img), next_random(img)};
        memcpy(buf + at, stamp, sizeof(stamp));
    }
    if (pwrite(img->fd, buf, bytes, (off_t)offset) != (ssize_t)bytes)
        die("write %zu bytes at %" PRIu64, bytes, offset);
    extent_add(img, offset, bytes);
}

/* Selection sampling: exactly the wanted number of blocks, in ascending order. */
static void change_random(struct image *img, uint64_t percent)
{
    uint64_t wanted = img->blocks * percent / 100;

    for (uint64_t i = 0; i < img->blocks && wanted > 0; i++) {
        if (next_random(img) % (img->blocks - i) >= wanted)
            continue;
        change(img, i * BLOCK, BLOCK);
        wanted--;
    }
}

static void change_churn(struct image *img, uint64_t range_bytes)
{
    uint64_t span = range_bytes / BLOCK;
    uint64_t best = 0;
    uint64_t best_data = 0;

    if (span == 0 || span > img->blocks)
        die("the image is smaller than %" PRIu64 " bytes", range_bytes);
    for (uint64_t first = 0; first + span <= img->blocks; first += 16) {
        uint64_t data = 0;
        for (uint64_t i = 0; i < span; i++)
            data += img->is_data[first + i];
        if (data > best_data) {
            best = first;
            best_data = data;
        }
        if (data * 100 >= span * 99)
            break;
    }
    fprintf(stderr, "mkdelta: churn at %" PRIu64 ", %" PRIu64 " %% of it data\n",
            best * BLOCK, best_data * 100 / span);
    for (uint64_t at = 0; at < range_bytes; at += 2 * CELL)
        change(img, best * BLOCK + at, CELL);
}

int main(int argc, char **argv)
{
    struct image img = {0};
    bool is_churn = argc == 6 && strcmp(argv[1], "churn") == 0;

    if (argc == 3 && strcmp(argv[1], "stat") == 0) {
        image_open(&img, argv[2], O_RDONLY);
        printf("%" PRIu64 " of %" PRIu64 " blocks of 64 KiB hold data: %.1f %%\n",
               img.data_blocks, img.blocks,
               100.0 * (double)img.data_blocks / (double)img.blocks);
        return 0;
    }
    if (argc != 6 || (!is_churn && strcmp(argv[1], "random") != 0))
        die("usage: mkdelta random|churn IMAGE EXTENTS SEED PERCENT|BYTES\n"
            "       mkdelta stat IMAGE");
    image_open(&img, argv[2], O_RDWR);
    img.state = parse_bytes(argv[4]);
    img.extents = fopen(argv[3], "we");
    if (img.extents == NULL)
        die("open '%s'", argv[3]);
    if (is_churn)
        change_churn(&img, parse_bytes(argv[5]));
    else
        change_random(&img, parse_bytes(argv[5]));
    extent_flush(&img);
    if (fclose(img.extents) != 0 || fsync(img.fd) != 0 || close(img.fd) != 0)
        die("write '%s'", argv[2]);
    free(img.is_data);
    return 0;
}
