/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets live in pages of their own: locked, not dumped, not inherited by children. */
#include "base/secret.h"

#include "base/file.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_BYTES 4096
#define CREDENTIAL "cred:"
_Static_assert(sizeof(struct secret) <= PAGE_BYTES, "a secret is one page");

void secret_wipe(void *data, size_t data_bytes)
{
    explicit_bzero(data, data_bytes);
}

void secret_random(void *data, size_t data_bytes)
{
    uint8_t *p = data;
    while (data_bytes) {
        ssize_t n = getrandom(p, data_bytes, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            abort();
        p += n;
        data_bytes -= (size_t)n;
    }
}

struct secret *secret_new(const void *data, size_t data_bytes)
{
    if (data_bytes > SECRET_MAX_BYTES)
        abort();
    void *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        abort();
    (void)mlock(page, PAGE_BYTES);                  /* RLIMIT_MEMLOCK may forbid it */
    (void)madvise(page, PAGE_BYTES, MADV_DONTDUMP); /* best effort, cores are off too */
    (void)madvise(page, PAGE_BYTES, MADV_WIPEONFORK);
    struct secret *secret = page;
    memcpy(secret->data, data, data_bytes);
    secret->bytes = data_bytes;
    return secret;
}

void secret_free(struct secret *secret)
{
    if (!secret)
        return;
    secret_wipe(secret, sizeof *secret);
    (void)munmap(secret, PAGE_BYTES); /* cannot fail for a mapping of ours */
}

struct secret *secret_read_file(const char *path, struct err *err)
{
    AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        (void)err_errno(err, errno, "open secret file '%s'", path);
        return NULL;
    }
    if (st.st_mode & 077) {
        (void)err_set(err, FAIL_AUTH,
                      "secret file '%s' can be read by others; run chmod 600 on it",
                      path);
        return NULL;
    }
    uint8_t raw[SECRET_MAX_BYTES + 1];
    ssize_t n = read(fd, raw, sizeof raw);
    if (n < 0) {
        (void)err_errno(err, errno, "read secret file '%s'", path);
        return NULL;
    }
    size_t length = 0;
    while (length < (size_t)n && raw[length] != '\n' && raw[length] != '\r')
        length++;
    struct secret *secret = NULL;
    if (length == 0)
        (void)err_set(err, FAIL_INPUT, "secret file '%s' is empty", path);
    else if (length > SECRET_MAX_BYTES)
        (void)err_set(err, FAIL_LIMIT, "secret in '%s' is longer than %d bytes", path,
                      SECRET_MAX_BYTES);
    else
        secret = secret_new(raw, length);
    secret_wipe(raw, sizeof raw);
    return secret;
}

bool secret_check_reference(const char *reference, struct err *err)
{
    if (text_starts_with(reference, CREDENTIAL))
        return text_check_name("credential", reference + sizeof CREDENTIAL - 1, err);
    if (reference[0] != '/')
        return err_set(err, FAIL_INPUT,
                       "'%.100s' is neither an absolute path nor cred:NAME", reference);
    return true;
}

struct secret *secret_read(const char *reference, struct err *err)
{
    if (!text_starts_with(reference, CREDENTIAL))
        return secret_read_file(reference, err);
    if (!secret_check_reference(reference, err))
        return NULL;
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    if (!dir || !*dir) {
        (void)err_set(err, FAIL_INPUT,
                      "'%.100s': systemd gave this process no credentials; name it in "
                      "LoadCredentialEncrypted= of the unit",
                      reference);
        return NULL;
    }
    AUTO(free) char *path = file_join(dir, reference + sizeof CREDENTIAL - 1);
    return secret_read_file(path, err);
}

bool secret_equal(const struct secret *a, const void *data, size_t data_bytes)
{
    const uint8_t *b = data;
    uint8_t difference = a->bytes == data_bytes ? 0 : 1;
    for (size_t i = 0; i < data_bytes && i < a->bytes; i++)
        difference |= (uint8_t)(a->data[i] ^ b[i]);
    return difference == 0;
}

void secret_harden_process(void)
{
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);      /* lowering is always allowed */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* fails only on bad arguments */
}
