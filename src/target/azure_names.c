/* SPDX-License-Identifier: Apache-2.0 */
/* Names are made, not asked for: the same machine and test always give the same ones, so
 * a step that is done again finds what it made. */
#include "target/azure_names.h"

#include "base/text.h"

#include <ctype.h>

#define TEST_PART_MAX 40

static void trim_hyphens(char *name)
{
    size_t length = strlen(name), lead = strspn(name, "-");
    memmove(name, name + lead, length - lead + 1);
    length -= lead;
    while (length && name[length - 1] == '-')
        name[--length] = 0;
}

/* At most max characters of text, all of them allowed; may be empty. */
static void clean(const char *text, size_t max, char *ret)
{
    size_t length = 0;
    for (; *text && length < max; text++)
        ret[length++] = isalnum((unsigned char)*text) ? *text : '-';
    ret[length] = 0;
    trim_hyphens(ret);
}

void azure_name_clean(const char *name, char ret[AZURE_NAME_BYTES])
{
    clean(name, AZURE_VM_NAME_MAX, ret);
    if (!*ret)
        text_copy(ret, AZURE_NAME_BYTES, "vm");
}

void azure_name_test(const char *vm_name, const char *test, char ret[AZURE_NAME_BYTES])
{
    char tail[TEST_PART_MAX + 1], head[AZURE_NAME_BYTES];
    clean(test, TEST_PART_MAX, tail);
    if (!*tail)
        text_copy(tail, sizeof tail, "test");
    clean(vm_name, AZURE_VM_NAME_MAX - strlen(tail) - 1, head);
    (void)snprintf(ret, AZURE_NAME_BYTES, "%s-%s", *head ? head : "vm", tail);
}

void azure_name_part(const char *vm_name, const char *part, size_t index,
                     char ret[AZURE_NAME_BYTES])
{
    (void)snprintf(ret, AZURE_NAME_BYTES, "%s-%s%zu", vm_name, part, index);
}

bool azure_name_check(const char *name, struct err *err)
{
    char clean_name[AZURE_NAME_BYTES];
    size_t length = strlen(name);
    if (length == 0 || length > AZURE_VM_NAME_MAX)
        return err_set(err, FAIL_INPUT, "VM name '%.80s' has %zu characters; 1 to %d",
                       name, length, AZURE_VM_NAME_MAX);
    azure_name_clean(name, clean_name);
    return strcmp(name, clean_name) == 0 ||
           err_set(err, FAIL_INPUT,
                   "VM name '%s' is not possible in Azure: letters, digits and hyphens "
                   "inside; write '%s'",
                   name, clean_name);
}
