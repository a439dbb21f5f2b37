/* SPDX-License-Identifier: Apache-2.0 */
/* A session from the first connection to the logout; see vim_login.c and vim_call.c. */
#include "vsphere/vim.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "vsphere/vim_session.h"
#include "vsphere/vim_soap.h"

#define CALL_DEADLINE_MS   (120ull * 1000)
#define LOGOUT_DEADLINE_MS 5000

bool vim_ref_is_set(const struct vim_ref *ref)
{
    return ref->id[0] != '\0';
}

bool vim_ref_equal(const struct vim_ref *a, const struct vim_ref *b)
{
    return strcmp(a->id, b->id) == 0 && strcmp(a->type, b->type) == 0;
}

static char *copy_part(const char *from, size_t bytes)
{
    char *part = xcalloc(bytes + 1, 1);
    memcpy(part, from, bytes);
    return part;
}

/* "https://[::1]:8443/sdk" into base_url, path and host_name. */
static bool split_url(struct vim *vim, const char *url, struct err *err)
{
    const char *host = url ? strstr(url, "://") : NULL;
    if (!host || host[3] == '\0')
        return err_set(err, FAIL_INPUT, "'%s' is not a URL; write https://<name>",
                       url ? url : "");
    host += 3;
    const char *path = host + strcspn(host, "/");
    vim->base_url = copy_part(url, (size_t)(path - url));
    size_t path_bytes = strlen(path);
    while (path_bytes > 0 && path[path_bytes - 1] == '/')
        path_bytes--;
    vim->path = path_bytes > 0 ? copy_part(path, path_bytes) : xstrdup("/sdk");
    if (strpbrk(vim->path, "?#% "))
        return err_set(err, FAIL_INPUT, "'%s' has more than a host and a path", url);
    vim->host_name = host[0] == '[' ? copy_part(host + 1, strcspn(host + 1, "]/"))
                                    : copy_part(host, strcspn(host, ":/"));
    return true;
}

static bool set_up(struct vim *vim, const struct vim_options *options, struct err *err)
{
    if (!split_url(vim, options->url, err))
        return false;
    if (!options->user || !*options->user || !options->password)
        return err_set(err, FAIL_INPUT, "'%s': user name and password are needed",
                       vim->base_url);
    vim->user = xstrdup(options->user);
    vim->password = secret_new(options->password->data, options->password->bytes);
    vim->ca_file = options->ca_file ? xstrdup(options->ca_file) : NULL;
    vim->proxy_url = options->proxy_url ? xstrdup(options->proxy_url) : NULL;
    if (options->proxy_password)
        vim->proxy_password =
            secret_new(options->proxy_password->data, options->proxy_password->bytes);
    vim->has_pin = options->pin != NULL;
    if (options->pin)
        memcpy(vim->pin, options->pin, sizeof vim->pin);
    vim->call_deadline_ms =
        options->call_deadline_ms ? options->call_deadline_ms : CALL_DEADLINE_MS;
    struct http_endpoint_options endpoint;
    vim_endpoint_options(vim, &endpoint);
    vim->endpoint = http_endpoint_open(&endpoint, err);
    return vim->endpoint != NULL;
}

struct vim *vim_open(const struct vim_options *options, const struct cancel *cancel,
                     struct err *err)
{
    AUTO(vim_close) struct vim *vim = xcalloc(1, sizeof *vim);
    (void)pthread_mutex_init(&vim->lock, NULL);
    (void)pthread_cond_init(&vim->login_done, NULL);
    if (!set_up(vim, options, err) || !vim_greet(vim, cancel, err) ||
        !vim_login(vim, 0, cancel, err))
        return NULL;
    return TAKE(vim);
}

/* A session that is gone already is not renewed just to be closed. */
static void log_out(struct vim *vim)
{
    struct wire_Logout args = {._this = vim->content.session_manager};
    struct vim_call call = {
        .type = wire_type_Logout(),
        .args = &args,
        .deadline_ms = LOGOUT_DEADLINE_MS,
    };
    AUTO(buf_release) struct buf envelope = {0};
    struct err ignored = ERR_INIT;
    if (!vim_soap_write(call.type, call.args, &envelope, &ignored))
        return;
    struct vim_post post = {.call = &call, .envelope = &envelope, .cookie = vim->cookie};
    if (!vim_post(vim, &post, &ignored)) /* the server ends idle sessions by itself */
        log_debug("vim_logout_failed", "host=%s", vim->host_name);
}

void vim_close(struct vim *vim)
{
    if (!vim)
        return;
    if (vim->cookie)
        log_out(vim);
    http_endpoint_close(vim->endpoint);
    secret_free(vim->cookie);
    secret_free(vim->password);
    secret_free(vim->proxy_password);
    free(vim->base_url);
    free(vim->path);
    free(vim->host_name);
    free(vim->user);
    free(vim->ca_file);
    free(vim->proxy_url);
    (void)pthread_cond_destroy(&vim->login_done);
    (void)pthread_mutex_destroy(&vim->lock);
    free(vim);
}

const struct vim_about *vim_about(const struct vim *vim)
{
    return &vim->about;
}

const struct vim_content *vim_content(const struct vim *vim)
{
    return &vim->content;
}

const char *vim_host_name(const struct vim *vim)
{
    return vim->host_name;
}

void vim_endpoint_options(const struct vim *vim, struct http_endpoint_options *ret)
{
    *ret = (struct http_endpoint_options){
        .url = vim->base_url,
        .role = ROLE_VCENTER,
        .ca_file = vim->ca_file,
        .pin = vim->has_pin ? vim->pin : NULL,
        .proxy_url = vim->proxy_url,
        .proxy_password = vim->proxy_password,
    };
}

struct secret *vim_cookie_new(struct vim *vim, struct err *err)
{
    uint64_t generation = 0;
    struct secret *cookie = vim_cookie_copy(vim, &generation);
    if (!cookie)
        (void)err_set(err, FAIL_AUTH, "'%s': not logged in", vim->base_url);
    return cookie;
}

bool vim_keep_alive(struct vim *vim, uint64_t idle_ms, const struct cancel *cancel,
                    struct err *err)
{
    if (clock_mono_ms() - atomic_load(&vim->last_used_ms) < idle_ms)
        return true;
    struct wire_CurrentTime args = {
        ._this = {.type = "ServiceInstance", .id = "ServiceInstance"},
    };
    struct vim_call call = {
        .type = wire_type_CurrentTime(),
        .args = &args,
        .cancel = cancel,
    };
    return vim_call_send(vim, &call, err);
}

static bool is_forgotten_locked(const struct vim *vim, const char *path)
{
    for (size_t i = 0; i < vim->forgotten_count; i++)
        if (strcmp(vim->forgotten_paths[i], path) == 0)
            return true;
    return false;
}

void vim_path_forget(struct vim *vim, const char *path)
{
    LOCK_GUARD(&vim->lock);
    if (!is_forgotten_locked(vim, path) && vim->forgotten_count < VIM_UNKNOWN_PATHS_MAX)
        text_copy(vim->forgotten_paths[vim->forgotten_count++],
                  sizeof vim->forgotten_paths[0], path);
}

bool vim_path_is_forgotten(struct vim *vim, const char *path)
{
    LOCK_GUARD(&vim->lock);
    return is_forgotten_locked(vim, path);
}

void vim_counters_get(struct vim *vim, struct vim_counters *ret)
{
    LOCK_GUARD(&vim->lock);
    *ret = vim->counters;
}

uint64_t vim_generation(struct vim *vim)
{
    LOCK_GUARD(&vim->lock);
    return vim->generation;
}

void vim_session_identity(struct vim *vim, char ret_key[128], char ret_user[256])
{
    LOCK_GUARD(&vim->lock);
    text_copy(ret_key, 128, vim->session_key);
    text_copy(ret_user, 256, vim->session_user);
}
