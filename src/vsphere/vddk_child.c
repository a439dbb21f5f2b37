/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program kedge-vddk: the only process in which the vendor's library is ever loaded.
 * It brings its own OpenSSL, its own threads and its own crashes; here they harm one disk
 * handle, not kedged. One child serves one handle, over the socket at descriptor 3
 * (vddk_wire.h); credentials come over that socket and are wiped after the login.
 *
 * The main thread reads requests and starts reads (the library wants one thread per
 * handle); completions come in threads of the library and only queue the slot; the writer
 * thread sends answers. A library without ReadAsync reads in the main thread.
 *
 * K1  a slot is free, with the library, or waiting for the writer.
 * K2  the handle is closed after the last completion.
 */
#include "base/buf.h"
#include "base/secret.h"
#include "base/text.h"
#include "vsphere/vddk_api.h"
#include "vsphere/vddk_wire.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

struct slot {
    uint32_t id;
    uint32_t length_bytes;
    uint64_t result;
    uint8_t *data; /* VDDK_READ_MAX_BYTES, at the first use */
    bool is_used;
    struct slot *next;
};

static struct {
#define X(type, name, arguments, is_optional) type(*name) arguments;
    VDDK_FUNCTIONS(X)
#undef X
} vddk;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct slot slots[VDDK_IN_FLIGHT_MAX];
    struct slot *first_done;
    struct slot *last_done;
    size_t used;
    bool is_ending;
} child = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* ---- the socket ---- */

static bool get(void *out, size_t bytes)
{
    for (uint8_t *at = out; bytes > 0;) {
        ssize_t n = recv(VDDK_FD, at, bytes, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        bytes -= (size_t)n;
    }
    return true;
}

static bool put(const void *data, size_t bytes)
{
    for (const uint8_t *at = data; bytes > 0;) {
        ssize_t n = send(VDDK_FD, at, bytes, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        bytes -= (size_t)n;
    }
    return true;
}

static bool answer(const struct vddk_head *head, const void *body)
{
    uint8_t raw[VDDK_HEAD_BYTES];
    vddk_head_put(raw, head);
    return put(raw, sizeof raw) && put(body, head->length_bytes);
}

static bool answer_failed(uint32_t id, const struct err *err)
{
    struct vddk_head head = {.type = VDDK_FAILED,
                             .id = id,
                             .kind = err->kind,
                             .length_bytes = (uint32_t)strlen(err->text)};
    return answer(&head, err->text);
}

/* ---- the library ---- */

static void drop_log(const char *fmt, va_list args)
{
    (void)fmt;
    (void)args;
}

static void tell_panic(const char *fmt, va_list args)
{
    (void)vfprintf(stderr, fmt, args);
}

static bool vddk_failed(struct err *err, const char *what, uint64_t result)
{
    char *text = vddk.GetErrorText(result, NULL);
    (void)err_set(err, FAIL_IO, "vddk: %s: %s (error %llu)", what,
                  text ? text : "no reason given", (unsigned long long)(result & 0xffff));
    if (text)
        vddk.FreeErrorText(text);
    return false;
}

static bool load(const char *library, struct err *err)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        (void)err_set(err, FAIL_INPUT, "vddk: %s", dlerror());
        return err_hint(err,
                        "vddk_library must name libvixDiskLib.so of the vendor's kit, "
                        "in its own folder");
    }
#define X(type, name, arguments, is_optional)                                            \
    *(void **)&vddk.name = dlsym(handle, "VixDiskLib_" #name);                           \
    if (!vddk.name && !is_optional)                                                      \
        return err_set(err, FAIL_INPUT,                                                  \
                       "vddk: '%s' has no function VixDiskLib_" #name                    \
                       "; version 6.7 or later is needed",                               \
                       library);
    VDDK_FUNCTIONS(X)
#undef X
    return true;
}

struct session {
    bool is_started;
    void *connection;
    void *handle;
    uint64_t disk_bytes;
};

static bool connect_server(const char *const texts[], struct session *session,
                           struct err *err)
{
    uint64_t port = 0;
    struct vddk_connect *params = vddk.AllocateConnectParams();
    if (!params)
        return err_set(err, FAIL_IO, "vddk: no connection parameters");
    bool by_password = texts[VDDK_TEXT_PASSWORD][0];
    char *copies[VDDK_TEXT_COUNT];
    for (size_t i = 0; i < VDDK_TEXT_COUNT; i++)
        copies[i] = xstrdup(texts[i]);
    params->vmx_spec = copies[VDDK_TEXT_VM];
    params->server_name = copies[VDDK_TEXT_SERVER];
    params->thumbprint = copies[VDDK_TEXT_THUMBPRINT];
    params->credential = by_password ? VDDK_BY_PASSWORD : VDDK_BY_SESSION;
    if (by_password) {
        params->secret.by_password.user = copies[VDDK_TEXT_USER];
        params->secret.by_password.password = copies[VDDK_TEXT_PASSWORD];
    } else {
        params->secret.by_session.cookie = copies[VDDK_TEXT_COOKIE];
        params->secret.by_session.user = copies[VDDK_TEXT_USER];
        params->secret.by_session.key = copies[VDDK_TEXT_PASSWORD];
    }
    bool ok = text_parse_u64(texts[VDDK_TEXT_PORT], 1, 65535, &port, err);
    params->port = (uint32_t)port;
    if (ok) {
        const char *snapshot = texts[VDDK_TEXT_SNAPSHOT];
        uint64_t result =
            vddk.ConnectEx(params, 1, *snapshot ? snapshot : NULL,
                           texts[VDDK_TEXT_TRANSPORTS], &session->connection);
        ok = result == VDDK_OK || vddk_failed(err, "connect", result);
    }
    /* The library frees what it made; the texts are ours: taken out again first. */
    memset(&params->secret, 0, sizeof params->secret);
    params->vmx_spec = params->server_name = params->thumbprint = NULL;
    vddk.FreeConnectParams(params);
    for (size_t i = 0; i < VDDK_TEXT_COUNT; i++) {
        secret_wipe(copies[i], strlen(copies[i]));
        free(copies[i]);
    }
    return ok;
}

static bool open_disk(const char *const texts[], struct session *session, struct err *err)
{
    uint64_t flags = 0;
    struct vddk_info *info = NULL;
    if (!text_parse_u64(texts[VDDK_TEXT_FLAGS], 0, UINT32_MAX, &flags, err))
        return false;
    uint64_t result = vddk.Open(session->connection, texts[VDDK_TEXT_FILE],
                                (uint32_t)flags, &session->handle);
    if (result != VDDK_OK)
        return vddk_failed(err, "open", result);
    result = vddk.GetInfo(session->handle, &info);
    if (result != VDDK_OK)
        return vddk_failed(err, "size of the disk", result);
    bool ok = mul_u64(info->capacity_sectors, SECTOR_BYTES, &session->disk_bytes);
    vddk.FreeInfo(info);
    return ok || err_set(err, FAIL_CORRUPT, "vddk: the disk's size is nonsense");
}

static bool start(const char *const texts[], struct session *session, struct err *err)
{
    const char *lib_dir = texts[VDDK_TEXT_LIB_DIR];
    if (!load(texts[VDDK_TEXT_LIBRARY], err))
        return false;
    uint64_t result = vddk.InitEx(VDDK_MAJOR, VDDK_MINOR, drop_log, drop_log, tell_panic,
                                  *lib_dir ? lib_dir : NULL, NULL);
    if (result != VDDK_OK)
        return vddk_failed(err, "the library does not start", result);
    session->is_started = true;
    return connect_server(texts, session, err) && open_disk(texts, session, err);
}

/* ---- reads ---- */

static void put_done(struct slot *slot, uint64_t result)
{
    LOCK_GUARD(&child.lock);
    slot->result = result;
    slot->next = NULL;
    if (child.last_done)
        child.last_done->next = slot;
    else
        child.first_done = slot;
    child.last_done = slot;
    (void)pthread_cond_broadcast(&child.changed);
}

static void on_done(void *context, uint64_t result)
{
    put_done(context, result);
}

static struct slot *take_done(void)
{
    LOCK_GUARD(&child.lock);
    while (!child.first_done && !(child.is_ending && child.used == 0))
        (void)pthread_cond_wait(&child.changed, &child.lock); /* owner */
    struct slot *slot = child.first_done;
    if (slot)
        child.first_done = slot->next;
    if (!child.first_done)
        child.last_done = NULL;
    return slot;
}

static void *write_answers(void *unused)
{
    (void)unused;
    bool is_heard = true; /* nobody listens any more: only collect the slots */
    for (struct slot *slot; (slot = take_done());) {
        struct vddk_head head = {
            .type = VDDK_DATA, .id = slot->id, .length_bytes = slot->length_bytes};
        if (is_heard && slot->result == VDDK_OK) {
            is_heard = answer(&head, slot->data);
        } else if (is_heard) {
            struct err err = ERR_INIT;
            (void)vddk_failed(&err, "read", slot->result);
            is_heard = answer_failed(slot->id, &err);
        }
        LOCK_GUARD(&child.lock);
        slot->is_used = false;
        child.used--;
        (void)pthread_cond_broadcast(&child.changed);
    }
    return NULL;
}

static struct slot *take_slot(void)
{
    LOCK_GUARD(&child.lock);
    for (;;) {
        for (size_t i = 0; i < VDDK_IN_FLIGHT_MAX; i++) {
            struct slot *slot = &child.slots[i];
            if (slot->is_used)
                continue;
            slot->is_used = true;
            child.used++;
            if (!slot->data)
                slot->data = xcalloc(1, VDDK_READ_MAX_BYTES);
            return slot;
        }
        (void)pthread_cond_wait(&child.changed, &child.lock); /* owner */
    }
}

static void read_one(const struct session *session, const struct vddk_head *head)
{
    struct slot *slot = take_slot();
    uint64_t start_sector = head->offset_bytes / SECTOR_BYTES;
    uint64_t sectors = head->length_bytes / SECTOR_BYTES;
    slot->id = head->id;
    slot->length_bytes = head->length_bytes;
    if (!vddk.ReadAsync) {
        put_done(slot, vddk.Read(session->handle, start_sector, sectors, slot->data));
        return;
    }
    uint64_t result =
        vddk.ReadAsync(session->handle, start_sector, sectors, slot->data, on_done, slot);
    if (result != VDDK_ASYNC)
        put_done(slot, result);
}

static void serve(const struct session *session)
{
    uint8_t raw[VDDK_HEAD_BYTES];
    struct vddk_head head;
    pthread_t writer;
    if (pthread_create(&writer, NULL, write_answers, NULL) != 0)
        abort();
    while (get(raw, sizeof raw) && vddk_head_get(raw, &head) && head.type == VDDK_READ &&
           head.length_bytes > 0 && head.length_bytes <= VDDK_READ_MAX_BYTES)
        read_one(session, &head);
    {
        LOCK_GUARD(&child.lock);
        child.is_ending = true;
        (void)pthread_cond_broadcast(&child.changed);
    }
    (void)pthread_join(writer, NULL); /* K2: every slot is back */
}

/* The texts of OPEN, in one block that the caller wipes. */
static bool read_open(char *block, const char *texts[VDDK_TEXT_COUNT])
{
    uint8_t raw[VDDK_HEAD_BYTES];
    struct vddk_head head;
    if (!get(raw, sizeof raw) || !vddk_head_get(raw, &head) || head.type != VDDK_OPEN ||
        head.length_bytes == 0 || head.length_bytes > VDDK_TEXT_MAX_BYTES ||
        !get(block, head.length_bytes) || block[head.length_bytes - 1] != 0)
        return false;
    char *end = block + head.length_bytes;
    for (size_t i = 0; i < VDDK_TEXT_COUNT; i++) {
        if (block == end)
            return false;
        texts[i] = block;
        block += strlen(block) + 1;
    }
    return block == end;
}

int main(void)
{
    static char block[VDDK_TEXT_MAX_BYTES];
    const char *texts[VDDK_TEXT_COUNT];
    struct session session = {0};
    struct err err = ERR_INIT;
    secret_harden_process();
    if (!read_open(block, texts)) {
        (void)fprintf(stderr, "kedge-vddk: started by kedged only\n");
        return 2;
    }
    bool ok = start(texts, &session, &err);
    secret_wipe(block, sizeof block);
    if (ok) {
        const char *mode = vddk.GetTransportMode(session.handle);
        struct vddk_head head = {.type = VDDK_OPENED,
                                 .offset_bytes = session.disk_bytes,
                                 .length_bytes = mode ? (uint32_t)strlen(mode) : 0};
        if (answer(&head, mode))
            serve(&session);
    } else if (!answer_failed(VDDK_NO_ID, &err)) {
        (void)fprintf(stderr, "kedge-vddk: %s\n", err.text);
    }
    /* Failures of closing are of no use to anybody: the process ends. */
    if (session.handle)
        (void)vddk.Close(session.handle);
    if (session.connection)
        (void)vddk.Disconnect(session.connection);
    if (session.is_started)
        vddk.Exit();
    return ok ? 0 : 1;
}
