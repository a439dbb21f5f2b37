/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QMP over a Unix socket: one JSON object per line in each direction.
 *
 * Every command carries an id and only the answer with that id ends the call, so a late
 * answer to a call that ran out of time is dropped instead of being taken for the next
 * one (Q1). Whatever has an "event" key and comes in between is kept in a ring (Q2). The
 * socket never blocks: each wait is a poll with what is left of the deadline (Q3).
 *
 * Must never: send a second command before the first was answered or given up; trust the
 * peer with an unbounded line.
 */
#include "qemu/qmp.h"

#include "base/clock.h"
#include "base/text.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define QMP_LINE_MAX_BYTES (16 * MIB)
#define QMP_POLL_MAX_MS    1000

struct qmp {
    int fd;
    char *path;
    uint64_t last_id;
    struct buf in; /* bytes of lines not yet complete */
    size_t event_count;
    json_t *events[QMP_MAX_EVENTS]; /* oldest first */
};

void qmp_close(struct qmp *qmp)
{
    if (!qmp)
        return;
    if (qmp->fd >= 0)
        (void)close(qmp->fd);
    for (size_t i = 0; i < qmp->event_count; i++)
        json_decref(qmp->events[i]);
    buf_release(&qmp->in);
    free(qmp->path);
    free(qmp);
}

static bool lost(struct qmp *qmp, struct err *err)
{
    return err_set(
        err, FAIL_TRANSIENT,
        "QMP socket '%s': QEMU closed the connection; is the machine still up?",
        qmp->path);
}

/* Waits until the socket is ready for `events`, the deadline, or the token. */
static bool wait_ready(struct qmp *qmp, short events, uint64_t until_ms,
                       const struct cancel *cancel, struct err *err)
{
    for (;;) {
        uint64_t now = clock_mono_ms();
        struct pollfd p[2] = {{qmp->fd, events, 0},
                              {cancel ? cancel->event_fd : -1, POLLIN, 0}};
        if (!cancel_check(cancel, err))
            return false;
        if (now >= until_ms)
            return err_set(err, FAIL_TRANSIENT,
                           "QMP socket '%s': no answer in time; does another client "
                           "(libvirt, a monitor) hold it?",
                           qmp->path);
        int n = poll(p, 2, (int)MIN_OF(until_ms - now, QMP_POLL_MAX_MS));
        if (n < 0 && errno != EINTR)
            return err_errno(err, errno, "wait for QMP socket '%s'", qmp->path);
        if (n > 0 && p[0].revents)
            return true;
    }
}

static bool send_all(struct qmp *qmp, const struct buf *text, uint64_t until_ms,
                     struct err *err)
{
    size_t sent = 0;
    while (sent < text->bytes) {
        ssize_t n = send(qmp->fd, text->data + sent, text->bytes - sent, MSG_NOSIGNAL);
        if (n > 0) {
            sent += (size_t)n;
        } else if (errno == EAGAIN) {
            if (!wait_ready(qmp, POLLOUT, until_ms, NULL, err))
                return false;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            return lost(qmp, err);
        } else if (errno != EINTR) {
            return err_errno(err, errno, "send to QMP socket '%s'", qmp->path);
        }
    }
    return true;
}

/* The next whole line, parsed; NULL with *err set. */
static json_t *read_message(struct qmp *qmp, uint64_t until_ms,
                            const struct cancel *cancel, struct err *err)
{
    for (;;) {
        uint8_t chunk[16384];
        uint8_t *end = qmp->in.bytes ? memchr(qmp->in.data, '\n', qmp->in.bytes) : NULL;
        if (end) {
            size_t line = (size_t)(end - qmp->in.data);
            json_t *json = json_parse("QMP answer", (char *)qmp->in.data, line, err);
            qmp->in.bytes -= line + 1;
            memmove(qmp->in.data, end + 1, qmp->in.bytes);
            return json;
        }
        if (qmp->in.bytes > QMP_LINE_MAX_BYTES) {
            (void)err_set(err, FAIL_LIMIT,
                          "QMP socket '%s': an answer is longer than %llu bytes",
                          qmp->path, (unsigned long long)QMP_LINE_MAX_BYTES);
            return NULL;
        }
        ssize_t n = recv(qmp->fd, chunk, sizeof chunk, 0);
        if (n > 0) {
            buf_append(&qmp->in, chunk, (size_t)n);
        } else if (n == 0 || errno == ECONNRESET) {
            (void)lost(qmp, err);
            return NULL;
        } else if (errno == EAGAIN) {
            if (!wait_ready(qmp, POLLIN, until_ms, cancel, err))
                return NULL;
        } else if (errno != EINTR) {
            (void)err_errno(err, errno, "read from QMP socket '%s'", qmp->path);
            return NULL;
        }
    }
}

static void keep_event(struct qmp *qmp, json_t *event)
{
    if (qmp->event_count == QMP_MAX_EVENTS) {
        json_decref(qmp->events[0]);
        memmove(qmp->events, qmp->events + 1, (QMP_MAX_EVENTS - 1) * sizeof *qmp->events);
        qmp->event_count--;
    }
    qmp->events[qmp->event_count++] = json_incref(event);
}

static bool connect_to(struct qmp *qmp, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(qmp->path) >= sizeof address.sun_path)
        return err_set(
            err, FAIL_INPUT,
            "QMP socket '%s': path is longer than %zu bytes; use a shorter one",
            qmp->path, sizeof address.sun_path - 1);
    text_copy(address.sun_path, sizeof address.sun_path, qmp->path);
    qmp->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (qmp->fd < 0)
        return err_errno(err, errno, "socket for QMP");
    if (connect(qmp->fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int why = errno;
        (void)err_errno(err, why, "connect to QMP socket '%s'", qmp->path);
        if (why == ENOENT || why == ECONNREFUSED)
            (void)err_hint(err,
                           "is the machine running, with -qmp unix:%s,server=on,"
                           "wait=off?",
                           qmp->path);
        return false;
    }
    return true;
}

struct qmp *qmp_open(const char *socket_path, uint64_t deadline_ms, struct err *err)
{
    AUTO(qmp_close) struct qmp *qmp = xcalloc(1, sizeof *qmp);
    qmp->fd = -1;
    qmp->path = xstrdup(socket_path);
    uint64_t until_ms = clock_mono_ms() + deadline_ms;
    if (!connect_to(qmp, err))
        return NULL;
    AUTO(json_free) json_t *greeting = read_message(qmp, until_ms, NULL, err);
    if (!greeting)
        return NULL;
    if (!json_object_get(greeting, "QMP")) {
        (void)err_set(err, FAIL_INPUT,
                      "socket '%s' does not speak QMP; give the path of -qmp, not of a "
                      "human monitor or the guest agent",
                      socket_path);
        return NULL;
    }
    uint64_t now = clock_mono_ms();
    uint64_t left_ms = until_ms > now ? until_ms - now : 1;
    if (!qmp_call(qmp, "qmp_capabilities", NULL, left_ms, NULL, err))
        return NULL;
    return TAKE(qmp);
}

static bool command_failed(const char *command, const json_t *error, struct err *err)
{
    const char *class_name = json_string_value(json_object_get(error, "class"));
    const char *text = json_string_value(json_object_get(error, "desc"));
    bool is_gone = class_name && strcmp(class_name, "DeviceNotFound") == 0;
    return err_set(err, is_gone ? FAIL_GONE : FAIL_IO, "QMP %s: %s", command,
                   text ? text : "failed without a reason");
}

bool qmp_call(struct qmp *qmp, const char *command, json_t *arguments,
              uint64_t deadline_ms, json_t **ret, struct err *err)
{
    uint64_t until_ms = clock_mono_ms() + deadline_ms;
    uint64_t id = ++qmp->last_id;
    AUTO(json_free) json_t *request = json_object();
    AUTO(buf_release) struct buf text = {0};
    json_put_text(request, "execute", command);
    if (arguments)
        json_put_take(request, "arguments", arguments);
    json_put_u64(request, "id", id);
    json_print(request, &text);
    buf_append_text(&text, "\n");
    if (!send_all(qmp, &text, until_ms, err))
        return err_wrap(err, "QMP %s", command);
    for (;;) {
        AUTO(json_free) json_t *answer = read_message(qmp, until_ms, NULL, err);
        if (!answer)
            return err_wrap(err, "QMP %s", command);
        if (json_object_get(answer, "event")) {
            keep_event(qmp, answer);
            continue;
        }
        const json_t *answer_id = json_object_get(answer, "id");
        const json_t *error = json_object_get(answer, "error");
        json_t *value = json_object_get(answer, "return");
        /* A request that QEMU could not parse is refused without an id. */
        if (answer_id ? (uint64_t)json_integer_value(answer_id) != id : !error)
            continue;
        if (error)
            return command_failed(command, error, err);
        if (!value)
            return err_set(err, FAIL_CORRUPT, "QMP %s: answer without a result", command);
        if (ret)
            *ret = json_incref(value);
        return true;
    }
}

static bool event_is(const json_t *event, const char *name)
{
    const char *text = json_string_value(json_object_get(event, "event"));
    return text && strcmp(text, name) == 0;
}

bool qmp_wait_event(struct qmp *qmp, const char *event, uint64_t deadline_ms,
                    const struct cancel *cancel, json_t **ret_data, struct err *err)
{
    uint64_t until_ms = clock_mono_ms() + deadline_ms;
    for (;;) {
        for (size_t i = 0; i < qmp->event_count; i++) {
            if (!event_is(qmp->events[i], event))
                continue;
            AUTO(json_free) json_t *found = qmp->events[i];
            memmove(qmp->events + i, qmp->events + i + 1,
                    (--qmp->event_count - i) * sizeof *qmp->events);
            json_t *data = json_object_get(found, "data");
            if (ret_data)
                *ret_data = data ? json_incref(data) : json_object();
            return true;
        }
        AUTO(json_free) json_t *message = read_message(qmp, until_ms, cancel, err);
        if (!message)
            return err_wrap(err, "wait for QMP event %s", event);
        if (json_object_get(message, "event"))
            keep_event(qmp, message);
    }
}
