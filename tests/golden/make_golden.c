/* SPDX-License-Identifier: Apache-2.0 */
/* make_golden DIR: writes the golden objects as hex text, 32 bytes a line. */
#include "golden.h"

#include "base/file.h"
#include "base/text.h"

#define LINE_BYTES 32

static bool write_item(const char *dir, enum golden_item item, struct err *err)
{
    AUTO(buf_release) struct buf raw = {0};
    AUTO(buf_release) struct buf text = {0};
    AUTO(free) char *path = file_join(dir, golden_file(item));
    if (!golden_make(item, &raw, err))
        return false;
    for (size_t at = 0; at < raw.bytes; at += LINE_BYTES) {
        char line[2 * LINE_BYTES + 1];
        text_hex(raw.data + at, MIN_OF(LINE_BYTES, raw.bytes - at), line);
        buf_printf(&text, "%s\n", line);
    }
    return file_write_durable(path, text.data, text.bytes, 0644, err);
}

int main(int argc, char **argv)
{
    struct err err = ERR_INIT;
    if (argc != 2) {
        fprintf(stderr, "usage: make_golden DIR\n");
        return 2;
    }
    for (int item = 0; item < GOLDEN_COUNT; item++)
        if (!write_item(argv[1], (enum golden_item)item, &err)) {
            fprintf(stderr, "make_golden: %s\n", err.text);
            return 1;
        }
    return 0;
}
