/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The "vddk" transport: a library that the user brings, never ours. It logs in by itself,
 * with the user's password or, without one, with the vim25 session; it wants the SHA-1
 * fingerprint of the server's certificate, which is taken from a connection that is
 * verified in the way of the vim25 session (chain, or pinned SHA-256).
 */
#include "vsphere/vddk_transport.h"

#include "base/file.h"
#include "base/text.h"
#include "vsphere/nfc_stream.h"
#include "vsphere/vddk_api.h"
#include "vsphere/vddk_lane.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DIAL_SILENCE_MS 30000
#define PATH_BYTES      4096

#ifndef KEDGE_LIBEXEC_DIR
#define KEDGE_LIBEXEC_DIR "/usr/libexec"
#endif

static const struct transport_ops OPS;

struct vddk_transport {
    struct transport base;
    struct vim *vim;
    const struct cancel *cancel;
    struct transport_options options;
    char helper[PATH_BYTES];
    char *library;
    char *user;
    char vm[160];
    char snapshot[128];
    char thumbprint[3 * TLS_SHA1_BYTES];
    struct transport_disk *disks;
    size_t disk_count;
    struct vddk_target target;
};

static struct secret *get_cookie(void *arg, struct err *err)
{
    struct vddk_transport *vddk = arg;
    return vim_cookie_new(vddk->vim, err);
}

/* Installed, or beside the program, or where the build puts it. */
static bool find_helper(struct vddk_transport *vddk, struct err *err)
{
    static const char *const beside[] = {"kedge-vddk", "../vsphere/kedge-vddk"};
    char self[PATH_BYTES];
    const char *given = vddk->options.vddk_helper;
    text_copy(vddk->helper, sizeof vddk->helper,
              given ? given : KEDGE_LIBEXEC_DIR "/kedge-vddk");
    if (given || file_exists(vddk->helper))
        return true;
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    char *slash = strrchr(self, '/');
    for (size_t i = 0; slash && i < ARRAY_COUNT(beside); i++) {
        (void)snprintf(vddk->helper, sizeof vddk->helper, "%.*s/%s", (int)(slash - self),
                       self, beside[i]);
        if (file_exists(vddk->helper))
            return true;
    }
    return err_set(err, FAIL_CONFLICT,
                   "vddk: the program kedge-vddk is missing; it belongs into "
                   "'" KEDGE_LIBEXEC_DIR "'");
}

/* Port of "https://host:port", 443 when there is none. */
static uint16_t port_of(const char *url)
{
    struct err ignored = ERR_INIT;
    uint64_t port = 443;
    const char *colon = strrchr(url, ':');
    const char *bracket = strrchr(url, ']');
    if (colon && colon[1] != '/' && (!bracket || bracket < colon) &&
        !text_parse_u64(colon + 1, 1, 65535, &port, &ignored))
        port = 443;
    return (uint16_t)port;
}

static bool read_thumbprint(struct vddk_transport *vddk,
                            const struct http_endpoint_options *endpoint, struct err *err)
{
    const char *host = vim_host_name(vddk->vim);
    struct nfc_stream stream = {
        .role = ROLE_VCENTER, .cancel = vddk->cancel, .silence_ms = DIAL_SILENCE_MS};
    struct tls_peer peer;
    struct tls_options tls = {.server_name = host,
                              .verified_name = endpoint->pin ? NULL : host,
                              .ca_file = endpoint->ca_file};
    bool ok = nfc_stream_connect(&stream, host, port_of(endpoint->url), err) &&
              nfc_stream_tls_start(&stream, &tls, err) &&
              tls_peer_get(stream.tls, &peer, err);
    nfc_stream_close(&stream);
    if (!ok)
        return err_wrap(err, "vddk: certificate of '%s'", host);
    if (endpoint->pin && memcmp(endpoint->pin, peer.sha256, HTTP_PIN_BYTES) != 0)
        return err_set(err, FAIL_AUTH,
                       "vddk: '%s' shows another certificate than the pinned one", host);
    for (size_t i = 0; i < TLS_SHA1_BYTES; i++)
        (void)snprintf(vddk->thumbprint + 3 * i, 4, "%02X:", peer.sha1[i]);
    vddk->thumbprint[sizeof vddk->thumbprint - 1] = 0; /* instead of the last colon */
    return true;
}

static uint32_t open_flags(const struct transport_options *options)
{
    static const uint32_t packing[] = {[NFC_STORED] = 0,
                                       [NFC_ZLIB] = VDDK_OPEN_ZLIB,
                                       [NFC_FASTLZ] = VDDK_OPEN_FASTLZ,
                                       [NFC_SKIPZ] = VDDK_OPEN_SKIPZ};
    struct nfc_quirks quirks = options->quirks ? *options->quirks : nfc_quirks_default();
    return VDDK_OPEN_READ_ONLY | packing[quirks.compression];
}

static void fill_target(struct vddk_transport *vddk,
                        const struct http_endpoint_options *endpoint)
{
    const struct transport_options *options = &vddk->options;
    vddk->target = (struct vddk_target){
        .helper = vddk->helper,
        .library = vddk->library,
        .server = vim_host_name(vddk->vim),
        .port = port_of(endpoint->url),
        .thumbprint = vddk->thumbprint,
        .vm = vddk->vm,
        .snapshot = vddk->snapshot,
        .transports = options->is_plain ? "san:hotadd:nbdssl:nbd" : "san:hotadd:nbdssl",
        .open_flags = open_flags(options),
        .user = vddk->user,
        .password = options->password,
        .cookie = get_cookie,
        .arg = vddk};
}

static bool check(const struct transport_machine *machine,
                  const struct http_endpoint_options *endpoint, struct err *err)
{
    const char *library = machine->options.vddk_library;
    if (!library)
        return err_set(err, FAIL_CONFLICT,
                       "vddk: no library is given; set vddk_library to the path of the "
                       "vendor's libvixDiskLib.so");
    if (!file_exists(library))
        return err_set(err, FAIL_CONFLICT, "vddk: there is no library '%.300s'", library);
    if (endpoint->proxy_url)
        return err_set(err, FAIL_CONFLICT, "vddk: the library cannot use a proxy");
    return true;
}

static void vddk_transport_close(struct transport *base)
{
    struct vddk_transport *vddk = (struct vddk_transport *)base;
    if (!vddk)
        return;
    free(vddk->library);
    free(vddk->user);
    free(vddk->disks);
    free(vddk);
}

static bool vddk_transport_open(const struct transport_machine *machine,
                                const struct cancel *cancel, struct transport **ret,
                                struct err *err)
{
    struct http_endpoint_options endpoint;
    vim_endpoint_options(machine->vim, &endpoint);
    if (!check(machine, &endpoint, err))
        return false;
    struct vddk_transport *vddk = xcalloc(1, sizeof *vddk);
    vddk->base.ops = &OPS;
    vddk->vim = machine->vim;
    vddk->cancel = cancel;
    vddk->options = machine->options;
    vddk->library = xstrdup(machine->options.vddk_library);
    vddk->user = xstrdup(machine->options.user ? machine->options.user : "");
    (void)snprintf(vddk->vm, sizeof vddk->vm, "moref=%s", machine->vm.id);
    text_copy(vddk->snapshot, sizeof vddk->snapshot, machine->snapshot.id);
    vddk->disks = xcalloc(machine->disk_count, sizeof *vddk->disks);
    vddk->disk_count = machine->disk_count;
    for (size_t i = 0; i < machine->disk_count; i++)
        vddk->disks[i] = machine->disks[i];
    if (!find_helper(vddk, err) || !read_thumbprint(vddk, &endpoint, err)) {
        vddk_transport_close(&vddk->base);
        return false;
    }
    fill_target(vddk, &endpoint);
    *ret = &vddk->base;
    return true;
}

static bool vddk_transport_lane_open(struct transport *base, size_t disk_index,
                                     struct lane **ret, struct err *err)
{
    struct vddk_transport *vddk = (struct vddk_transport *)base;
    if (disk_index >= vddk->disk_count)
        return err_set(err, FAIL_BUG, "disk %zu of %zu", disk_index, vddk->disk_count);
    const struct transport_disk *disk = &vddk->disks[disk_index];
    struct vddk_lane_options options = {.ops = &OPS,
                                        .target = &vddk->target,
                                        .file_name = disk->file_name,
                                        .disk_bytes = disk->disk_bytes,
                                        .max_in_flight = vddk->options.max_in_flight,
                                        .attempts = vddk->options.attempts,
                                        .silence_ms = vddk->options.silence_ms,
                                        .cancel = vddk->cancel};
    return vddk_lane_open(&options, ret, err);
}

static const struct transport_ops OPS = {
    .name = "vddk",
    .open = vddk_transport_open,
    .lane_open = vddk_transport_lane_open,
    .submit = vddk_lane_submit,
    .next = vddk_lane_next,
    .counters = vddk_lane_counters,
    .lane_close = vddk_lane_close,
    .close = vddk_transport_close,
};

const struct transport_ops *vddk_transport(void)
{
    return &OPS;
}
