/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the vendor's Virtual Disk Development Kit is used: names, numbers and layouts
 * as its public programming guide describes them (versions 6.7 to 8.0, 64-bit Linux),
 * declared anew. The library itself is the user's: opened at run time, never linked.
 */
#ifndef VSPHERE_VDDK_API_H
#define VSPHERE_VDDK_API_H

#include <stdarg.h>
#include <stdint.h>

#define VDDK_OK    0u
#define VDDK_ASYNC 25000u /* ReadAsync: the callback will come */

/* What we say we were written for; later libraries keep to it. */
#define VDDK_MAJOR 6u
#define VDDK_MINOR 7u

#define VDDK_OPEN_READ_ONLY 4u
#define VDDK_OPEN_ZLIB      16u
#define VDDK_OPEN_FASTLZ    32u
#define VDDK_OPEN_SKIPZ     64u

enum vddk_credential { VDDK_BY_PASSWORD = 1, VDDK_BY_SESSION = 2 };

/* VixDiskLibConnectParams; made and freed by the library, which may have more behind. */
struct vddk_connect {
    char *vmx_spec; /* "moref=vm-42" */
    char *server_name;
    char *thumbprint; /* SHA-1, "AA:BB:..." */
    long reserved;
    int credential; /* enum vddk_credential */
    union {
        struct {
            char *user;
            char *password;
        } by_password;
        struct {
            char *cookie;
            char *user;
            char *key;
        } by_session;
    } secret;
    uint32_t port;
    uint32_t nfc_port;
};

/* VixDiskLibInfo, its beginning. */
struct vddk_info {
    uint32_t bios_geometry[3];
    uint32_t physical_geometry[3];
    uint64_t capacity_sectors;
};

typedef void vddk_log(const char *fmt, va_list args);
typedef void vddk_done(void *context, uint64_t result);

/* X(return type, name, arguments, is optional) */
#define VDDK_FUNCTIONS(X)                                                                \
    X(uint64_t, InitEx,                                                                  \
      (uint32_t major, uint32_t minor, vddk_log * log, vddk_log * warn,                  \
       vddk_log * panic, const char *lib_dir, const char *config_file),                  \
      0)                                                                                 \
    X(void, Exit, (void), 0)                                                             \
    X(char *, GetErrorText, (uint64_t error, const char *locale), 0)                     \
    X(void, FreeErrorText, (char *text), 0)                                              \
    X(struct vddk_connect *, AllocateConnectParams, (void), 0)                           \
    X(void, FreeConnectParams, (struct vddk_connect * params), 0)                        \
    X(uint64_t, ConnectEx,                                                               \
      (const struct vddk_connect *params, char is_read_only, const char *snapshot,       \
       const char *transports, void **ret),                                              \
      0)                                                                                 \
    X(uint64_t, Disconnect, (void *connection), 0)                                       \
    X(uint64_t, Open, (void *connection, const char *path, uint32_t flags, void **ret),  \
      0)                                                                                 \
    X(uint64_t, Close, (void *handle), 0)                                                \
    X(uint64_t, GetInfo, (void *handle, struct vddk_info **ret), 0)                      \
    X(void, FreeInfo, (struct vddk_info * info), 0)                                      \
    X(const char *, GetTransportMode, (void *handle), 0)                                 \
    X(uint64_t, Read,                                                                    \
      (void *handle, uint64_t start_sector, uint64_t sectors, uint8_t *data), 0)         \
    X(uint64_t, ReadAsync,                                                               \
      (void *handle, uint64_t start_sector, uint64_t sectors, uint8_t *data,             \
       vddk_done *done, void *context),                                                  \
      1)

#endif
