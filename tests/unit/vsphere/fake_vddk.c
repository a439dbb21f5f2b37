/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stand-in for the vendor's disk library, as a shared object: serves a raw file whose
 * path is the part of the disk's name after "[fake] ". What it shall do wrong is told by
 * files beside that one (removed when they struck): .crash and .stall at the fifth read,
 * .refuse for good: no read of the sector at 1 MiB succeeds.
 *
 * The server "vc.test" wants exactly what test_vddk.c gives; any other one wants the
 * cookie of a session, or the simulator's account by its password, and the fingerprint it
 * was given is kept in .thumbprint, how it was logged in to in .login.
 *
 * FAKE_OLD: refuses to start. FAKE_NO_READ: a function is missing. FAKE_SYNC: no
 * ReadAsync.
 */
#include "vsphere/vddk_api.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define FAILED 13

struct disk {
    int fd;
    char path[512];
    _Atomic unsigned reads;
};

#define X(type, name, arguments, is_optional) EXPORT type VixDiskLib_##name arguments;
VDDK_FUNCTIONS(X)
#undef X

uint64_t VixDiskLib_InitEx(uint32_t major, uint32_t minor, vddk_log *log, vddk_log *warn,
                           vddk_log *panic, const char *lib_dir, const char *config_file)
{
    (void)config_file;
#ifdef FAKE_OLD
    return FAILED;
#endif
    return major == 6 && minor == 7 && log && warn && panic && lib_dir ? VDDK_OK : FAILED;
}

void VixDiskLib_Exit(void)
{
}

char *VixDiskLib_GetErrorText(uint64_t error, const char *locale)
{
    char *text = malloc(64);
    (void)locale;
    if (text)
        (void)snprintf(text, 64, "fake error %llu", (unsigned long long)error);
    return text;
}

void VixDiskLib_FreeErrorText(char *text)
{
    free(text);
}

static char seen_thumbprint[128];
static const char *seen_login;

/* Larger than what we know of it, as the real one may be. */
struct vddk_connect *VixDiskLib_AllocateConnectParams(void)
{
    return calloc(1, sizeof(struct vddk_connect) + 256);
}

void VixDiskLib_FreeConnectParams(struct vddk_connect *params)
{
    free(params->vmx_spec);
    free(params->server_name);
    free(params->thumbprint);
    free(params);
}

static bool is_known(const struct vddk_connect *params)
{
    bool ok = strcmp(params->vmx_spec, "moref=vm-7") == 0 && params->port == 443 &&
              strncmp(params->thumbprint, "AA:BB", 5) == 0;
    if (params->credential == VDDK_BY_PASSWORD)
        return ok && strcmp(params->secret.by_password.user, "backup") == 0 &&
               strcmp(params->secret.by_password.password, "s3cret \xc3\xa4\"'") == 0;
    return ok && strcmp(params->secret.by_session.cookie,
                        "vmware_soap_session=\"c00k1e\"") == 0;
}

/* The first account of the simulated vSphere. */
static bool is_simulated(const struct vddk_connect *params)
{
    if (params->credential == VDDK_BY_PASSWORD)
        return strcmp(params->secret.by_password.user, "administrator@vsphere.local") ==
                   0 &&
               strcmp(params->secret.by_password.password, "Kedge-sim-1!") == 0;
    return params->credential == VDDK_BY_SESSION &&
           strncmp(params->secret.by_session.cookie, "vmware_soap_session", 19) == 0;
}

uint64_t VixDiskLib_ConnectEx(const struct vddk_connect *params, char is_read_only,
                              const char *snapshot, const char *transports, void **ret)
{
    bool ok = is_read_only && strstr(transports, "nbdssl");
    if (strcmp(params->server_name, "vc.test") == 0)
        ok = ok && is_known(params) && snapshot && strcmp(snapshot, "snapshot-3") == 0;
    else
        ok = ok && is_simulated(params);
    seen_login = params->credential == VDDK_BY_PASSWORD ? "password" : "session";
    (void)snprintf(seen_thumbprint, sizeof seen_thumbprint, "%s", params->thumbprint);
    *ret = ok ? &seen_thumbprint : NULL;
    return ok ? VDDK_OK : FAILED;
}

uint64_t VixDiskLib_Disconnect(void *connection)
{
    return connection ? VDDK_OK : FAILED;
}

/* For the test, which looks at it. */
static void note(const struct disk *disk, const char *what, const char *text)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s.%s", disk->path, what);
    FILE *file = fopen(path, "w");
    if (file) {
        (void)fputs(text, file);
        (void)fclose(file);
    }
}

uint64_t VixDiskLib_Open(void *connection, const char *path, uint32_t flags, void **ret)
{
    struct disk *disk = calloc(1, sizeof *disk);
    if (!disk || !connection || !(flags & VDDK_OPEN_READ_ONLY) ||
        strncmp(path, "[fake] ", 7) != 0) {
        free(disk);
        return FAILED;
    }
    (void)snprintf(disk->path, sizeof disk->path, "%s", path + 7);
    disk->fd = open(disk->path, O_RDONLY | O_CLOEXEC);
    *ret = disk;
    note(disk, "thumbprint", seen_thumbprint);
    note(disk, "login", seen_login);
    return disk->fd >= 0 ? VDDK_OK : FAILED;
}

uint64_t VixDiskLib_Close(void *handle)
{
    struct disk *disk = handle;
    (void)close(disk->fd);
    free(disk);
    return VDDK_OK;
}

uint64_t VixDiskLib_GetInfo(void *handle, struct vddk_info **ret)
{
    const struct disk *disk = handle;
    struct stat st;
    struct vddk_info *info = calloc(1, sizeof *info + 64);
    if (!info || fstat(disk->fd, &st) != 0)
        abort();
    info->capacity_sectors = (uint64_t)st.st_size / 512;
    *ret = info;
    return VDDK_OK;
}

void VixDiskLib_FreeInfo(struct vddk_info *info)
{
    free(info);
}

const char *VixDiskLib_GetTransportMode(void *handle)
{
    return handle ? "nbdssl" : NULL;
}

static bool strikes(const struct disk *disk, const char *what, bool is_for_good)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s.%s", disk->path, what);
    return is_for_good ? access(path, F_OK) == 0 : unlink(path) == 0;
}

static uint64_t read_sectors(struct disk *disk, uint64_t start, uint64_t sectors,
                             uint8_t *data)
{
    if (disk->reads++ >= 4) {
        if (strikes(disk, "crash", false))
            (void)kill(getpid(), SIGSEGV);
        if (strikes(disk, "stall", false))
            (void)pause();
    }
    if (start <= 2048 && 2048 < start + sectors && strikes(disk, "refuse", true))
        return FAILED;
    ssize_t n = pread(disk->fd, data, sectors * 512, (off_t)(start * 512));
    return n == (ssize_t)(sectors * 512) ? VDDK_OK : FAILED;
}

#ifndef FAKE_NO_READ
uint64_t VixDiskLib_Read(void *handle, uint64_t start_sector, uint64_t sectors,
                         uint8_t *data)
{
    return read_sectors(handle, start_sector, sectors, data);
}
#endif

#ifndef FAKE_SYNC
struct later {
    struct disk *disk;
    uint64_t start;
    uint64_t sectors;
    uint8_t *data;
    vddk_done *done;
    void *context;
};

static void *read_later(void *argument)
{
    struct later later = *(struct later *)argument;
    free(argument);
    (void)usleep((useconds_t)(later.start % 7 * 300)); /* out of order */
    later.done(later.context,
               read_sectors(later.disk, later.start, later.sectors, later.data));
    return NULL;
}

uint64_t VixDiskLib_ReadAsync(void *handle, uint64_t start_sector, uint64_t sectors,
                              uint8_t *data, vddk_done *done, void *context)
{
    pthread_t thread;
    struct later *later = malloc(sizeof *later);
    if (!later)
        return FAILED;
    *later = (struct later){handle, start_sector, sectors, data, done, context};
    if (pthread_create(&thread, NULL, read_later, later) != 0)
        abort();
    (void)pthread_detach(thread); /* like the real one's, nobody's to join */
    return VDDK_ASYNC;
}
#endif
