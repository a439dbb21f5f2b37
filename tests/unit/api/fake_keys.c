/* SPDX-License-Identifier: Apache-2.0 */
/* The one call of keys/ that init makes; the file holds no usable key. */
#include "base/file.h"
#include "keys/keys.h"

bool keys_file_create(const char *path, struct err *err)
{
    static const char TEXT[] = "fake\n";
    return file_write_durable(path, TEXT, sizeof TEXT - 1, 0600, err);
}
