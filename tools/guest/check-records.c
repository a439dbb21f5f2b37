/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check-records: the host's side of the demo guest's proof. Takes the record and churn
 * files of the two disks, as check-image.sh brings them out of the images, and says
 * whether they are what the guest can have left at one instant. One line on standard
 * output; exit 0 when all is right, 1 when not, 2 when it was called wrongly.
 */
#include "guest-format.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options {
    const char *dirs[DISK_COUNT];
    uint64_t min_records;
    bool is_json;
};

struct found {
    struct records_state records;
    struct churn_state churn;
};

static int usage(void)
{
    (void)fprintf(stderr, "usage: check-records [--json] [--min N] ROOT-DIR DATA-DIR\n"
                          "each DIR has records.log and churn.bin of one disk\n");
    return 2;
}

static bool options_read(int argc, char **argv, struct options *ret_options)
{
    static const struct option longs[] = {
        {"json", no_argument, NULL, 'j'}, {"min", required_argument, NULL, 'm'}, {0}};
    char *end = NULL;

    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (c == 'j') {
            ret_options->is_json = true;
        } else if (c == 'm') {
            errno = 0;
            ret_options->min_records = strtoull(optarg, &end, 10);
            if (end == optarg || *end != '\0' || errno != 0 || optarg[0] == '-')
                return false;
        } else {
            return false;
        }
    }
    if (argc - optind != DISK_COUNT)
        return false;
    for (int i = 0; i < DISK_COUNT; i++)
        ret_options->dirs[i] = argv[optind + i];
    return true;
}

static int file_open(const char *dir, const char *name, char *why, size_t why_bytes)
{
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        (void)snprintf(why, why_bytes, "open '%s': %s", path, strerror(errno));
    return fd;
}

static bool disk_check(const char *dir, enum guest_disk disk, struct found *ret_found,
                       char *why, size_t why_bytes)
{
    int fd = file_open(dir, "records.log", why, why_bytes);
    if (fd < 0)
        return false;
    bool is_right = records_verify(fd, disk, &ret_found->records, why, why_bytes);
    (void)close(fd);
    if (!is_right)
        return false;

    uint64_t gen = ret_found->records.count > 0 ? ret_found->records.last.churn_gen : 0;
    fd = file_open(dir, "churn.bin", why, why_bytes);
    if (fd < 0)
        return gen == 0; /* the first boot makes it */
    is_right = churn_verify(fd, disk, gen, &ret_found->churn, why, why_bytes);
    (void)close(fd);
    return is_right;
}

static bool all_check(const struct options *options, struct found *ret_found, char *why,
                      size_t why_bytes)
{
    for (int i = 0; i < DISK_COUNT; i++)
        if (!disk_check(options->dirs[i], (enum guest_disk)i, &ret_found[i], why,
                        why_bytes))
            return false;
    if (!records_compare(&ret_found[DISK_ROOT].records, &ret_found[DISK_DATA].records,
                         why, why_bytes))
        return false;
    if (ret_found[DISK_ROOT].records.count >= options->min_records)
        return true;
    (void)snprintf(why, why_bytes,
                   "record %" PRIu64 " must be there, the last is %" PRIu64,
                   options->min_records, ret_found[DISK_ROOT].records.count);
    return false;
}

/* The inside of a JSON string. */
static void json_text_print(const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            (void)printf("\\%c", c);
        else if (c < 0x20)
            (void)printf("\\u%04x", c);
        else
            (void)putchar(c);
    }
}

static void json_print(const struct found *found, const char *why)
{
    const struct found *root = &found[DISK_ROOT], *data = &found[DISK_DATA];
    (void)printf(
        "{\"ok\":%s,\"root\":%" PRIu64 ",\"data\":%" PRIu64 ",\"boot\":%" PRIu32
        ",\"root_churn_blocks\":%" PRIu64 ",\"data_churn_blocks\":%" PRIu64 ",\"why\":\"",
        why[0] == '\0' ? "true" : "false", root->records.count, data->records.count,
        root->records.count > 0 ? root->records.last.boot : 0, root->churn.written_blocks,
        data->churn.written_blocks);
    json_text_print(why);
    (void)printf("\"}\n");
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct found found[DISK_COUNT] = {0};
    char why[4400] = "";

    if (!options_read(argc, argv, &options))
        return usage();
    bool is_right = all_check(&options, found, why, sizeof(why));
    if (options.is_json)
        json_print(found, why);
    else if (is_right)
        (void)printf("records root=%" PRIu64 " data=%" PRIu64 " ok\n",
                     found[DISK_ROOT].records.count, found[DISK_DATA].records.count);
    else
        (void)printf("records FAILED %s\n", why);
    return is_right ? 0 : 1;
}
