/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Learning what the server is, and logging in.
 *
 *  L1  At most one login is under way; who finds the session gone meanwhile waits for it
 *      and takes its outcome: a wrong password is tried once, not by each thread.
 *  L2  No call is made while the lock is held.
 *  L3  The password is in memory in two places: the session's secret, and for the time of
 *      a login the request, which is wiped.
 *
 * The SOAPAction names the API version we speak. The server lists those it knows in
 * /sdk/vimServiceVersions.xml; we take the newest that is not newer than the one we were
 * written against, so that a later server behaves as we expect.
 */
#include "vsphere/vim_session.h"

#include "base/clock.h"
#include "base/text.h"
#include "vsphere/vim_soap.h"

/* The newest API version whose behaviour is known to us. */
#define API_VERSION_NEWEST "8.0.3.0"
#define VERSIONS_MAX_BYTES ((size_t)(256 * KIB))
#define LOGIN_MAX_BYTES    (16 * KIB)
#define LOGIN_REFUSED_MS   10000     /* so long nobody tries the same password again */
#define LOGIN_LOOK_NS      200000000 /* between two looks at the cancel token */

/* "8.0.10" against "8.0.9": by the numbers between the dots. */
static int compare_versions(const char *a, const char *b)
{
    while (*a || *b) {
        char *a_end = NULL;
        char *b_end = NULL;
        unsigned long a_part = strtoul(a, &a_end, 10);
        unsigned long b_part = strtoul(b, &b_end, 10);
        if (a_part != b_part)
            return a_part < b_part ? -1 : 1;
        if ((a == a_end && *a) || (b == b_end && *b))
            return strcmp(a, b); /* not a number: any order will do */
        a = *a_end == '.' ? a_end + 1 : a_end;
        b = *b_end == '.' ? b_end + 1 : b_end;
    }
    return 0;
}

static bool consider_version(struct xml_reader *reader, char best[32], struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    if (!xml_text(reader, 64, &text, err))
        return false;
    const char *version = buf_text(&text);
    if (strlen(version) < 32 && strspn(version, "0123456789.") == strlen(version) &&
        compare_versions(version, API_VERSION_NEWEST) <= 0 &&
        compare_versions(version, best) > 0)
        text_copy(best, 32, version);
    return true;
}

/* <namespaces><namespace><name>urn:vim25</name><version/><priorVersions><version/>... */
static bool read_namespace(struct xml_reader *reader, char best[32], struct err *err)
{
    bool is_vim25 = false;
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);) {
        if (xml_is(reader, "name")) {
            AUTO(buf_release) struct buf name = {0};
            if (!xml_text(reader, 64, &name, err))
                return false;
            is_vim25 = strcmp(buf_text(&name), "urn:vim25") == 0;
        } else if (is_vim25 && xml_is(reader, "version")) {
            if (!consider_version(reader, best, err))
                return false;
        } else if (is_vim25 && xml_is(reader, "priorVersions")) {
            for (struct xml_mark prior = xml_mark(reader); xml_next(reader, &prior, err);)
                if (xml_is(reader, "version") && !consider_version(reader, best, err))
                    return false;
        }
    }
    return !xml_failed(reader);
}

/* "" when the server has no such list, or none that can be read. */
static bool read_versions(struct vim *vim, const struct cancel *cancel, char best[32],
                          struct err *err)
{
    AUTO(buf_release) struct buf path = {0};
    buf_printf(&path, "%s/vimServiceVersions.xml", vim->path);
    struct http_request request = {
        .method = "GET",
        .path = buf_text(&path),
        .max_answer_bytes = VERSIONS_MAX_BYTES,
        .deadline_ms = vim->call_deadline_ms,
        .cancel = cancel,
    };
    AUTO(http_answer_release) struct http_answer answer = {0};
    if (!http_exchange(vim->endpoint, &request, &answer, err))
        return err_wrap(err, "version list of '%s'", vim->base_url);
    if (answer.status != 200)
        return true;
    struct err ignored = ERR_INIT;
    AUTO(xml_reader_close)
    struct xml_reader *reader =
        xml_reader_open("version list", answer.body.data, answer.body.bytes, &ignored);
    if (!reader)
        return true;
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, &ignored);)
        if (xml_is(reader, "namespace") && !read_namespace(reader, best, &ignored))
            break;
    return true;
}

static void set_about(struct vim_about *about, const struct wire_AboutInfo *told)
{
#define COPY(to, from) text_copy(about->to, sizeof about->to, (from) ? (from) : "")
    COPY(name, told->name);
    COPY(full_name, told->fullName);
    COPY(version, told->version);
    COPY(build, told->build);
    COPY(api_type, told->apiType);
    COPY(api_version, told->apiVersion);
    COPY(instance_uuid, told->instanceUuid);
#undef COPY
    about->is_vcenter = strcmp(about->api_type, "VirtualCenter") == 0;
}

bool vim_greet(struct vim *vim, const struct cancel *cancel, struct err *err)
{
    char version[32] = "";
    text_copy(vim->soap_action, sizeof vim->soap_action, "\"urn:vim25/5.5\"");
    if (!read_versions(vim, cancel, version, err))
        return false;
    if (*version)
        (void)snprintf(vim->soap_action, sizeof vim->soap_action, "\"urn:vim25/%s\"",
                       version);

    struct wire_RetrieveServiceContent args = {
        ._this = {.type = "ServiceInstance", .id = "ServiceInstance"},
    };
    struct vim_call call = {
        .type = wire_type_RetrieveServiceContent(),
        .args = &args,
        .cancel = cancel,
    };
    AUTO(wire_arena_release) struct wire_arena arena = {.max_bytes = (size_t)MIB};
    struct wire_ServiceContent content;
    if (!vim_call_read(vim, &call, wire_type_ServiceContent(), &arena, &content, err))
        return false;
    set_about(&vim->about, content.about);
    vim->content = (struct vim_content){
        .root_folder = content.rootFolder,
        .property_collector = content.propertyCollector,
        .view_manager = content.viewManager,
        .session_manager = content.sessionManager,
        .authorization_manager = content.authorizationManager,
        .search_index = content.searchIndex,
    };
    if (!*version && strlen(vim->about.api_version) > 0)
        (void)snprintf(vim->soap_action, sizeof vim->soap_action, "\"urn:vim25/%s\"",
                       compare_versions(vim->about.api_version, API_VERSION_NEWEST) > 0
                           ? API_VERSION_NEWEST
                           : vim->about.api_version);
    if (!vim_ref_is_set(&vim->content.session_manager))
        return err_set(err, FAIL_CORRUPT, "'%s' has no session manager", vim->base_url);
    return true;
}

struct login_return {
    struct wire_arena arena;
    struct wire_UserSession session;
};

static bool read_session(void *arg, struct xml_reader *reader, struct err *err)
{
    struct login_return *ret = arg;
    return wire_read(wire_type_UserSession(), reader, &ret->arena, &ret->session, err);
}

static bool check_password(const struct vim *vim, struct err *err)
{
    if (!memchr(vim->password->data, 0, vim->password->bytes))
        return true;
    return err_set(err, FAIL_INPUT, "the password of '%s' has a NUL character",
                   vim->user);
}

/* Login itself; on success the session's fields are the new ones. */
static bool log_in_now(struct vim *vim, const struct cancel *cancel, struct err *err)
{
    if (!check_password(vim, err))
        return false;
    char password[SECRET_MAX_BYTES + 1] = {0};
    memcpy(password, vim->password->data, vim->password->bytes);
    struct wire_Login args = {
        ._this = vim->content.session_manager,
        .userName = vim->user,
        .password = password,
    };
    AUTO(buf_release) struct buf envelope = {0};
    buf_reserve(&envelope, LOGIN_MAX_BYTES); /* never moved, so wiped whole */
    bool ok = vim_soap_write(wire_type_Login(), &args, &envelope, err);
    secret_wipe(password, sizeof password);

    struct login_return ret = {.arena = {.max_bytes = (size_t)MIB}};
    struct vim_call call = {
        .type = wire_type_Login(),
        .on_return = read_session,
        .arg = &ret,
        .cancel = cancel,
    };
    AUTO(secret_free) struct secret *cookie = NULL;
    struct vim_post post = {.call = &call, .envelope = &envelope, .ret_cookie = &cookie};
    ok = ok && vim_post(vim, &post, err);
    secret_wipe(envelope.data, envelope.cap_bytes);
    if (ok && (!cookie || !ret.session.key))
        ok = err_set(err, FAIL_CORRUPT, "Login: the server gave no session");
    if (ok) {
        LOCK_GUARD(&vim->lock);
        secret_free(vim->cookie);
        vim->cookie = TAKE(cookie);
        text_copy(vim->session_key, sizeof vim->session_key, ret.session.key);
        text_copy(vim->session_user, sizeof vim->session_user, ret.session.userName);
        vim->counters.logins++;
    }
    wire_arena_release(&ret.arena);
    return ok || err_wrap(err, "log in to '%s' as '%s'", vim->base_url, vim->user);
}

/* Until the login is over, or a little while: the caller looks again. */
static void wait_a_moment(struct vim *vim)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until); /* cannot fail */
    until.tv_nsec += LOGIN_LOOK_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    (void)pthread_cond_timedwait(&vim->login_done, &vim->lock, &until); /* either way */
}

/* *ret_is_done: somebody else's login answers for ours, for good or ill. */
static bool join_login(struct vim *vim, uint64_t seen, const struct cancel *cancel,
                       bool *ret_is_done, struct err *err)
{
    LOCK_GUARD(&vim->lock);
    bool has_waited = vim->is_logging_in;
    *ret_is_done = true;
    while (vim->is_logging_in) {
        wait_a_moment(vim);
        if (!cancel_check(cancel, err))
            return false;
    }
    if (vim->generation != seen)
        return true;
    bool was_refused = vim->login_failure.kind == FAIL_AUTH &&
                       clock_mono_ms() - vim->login_failed_ms < LOGIN_REFUSED_MS;
    if (was_refused || (has_waited && vim->login_failure.kind != FAIL_NONE)) {
        *err = vim->login_failure;
        return false;
    }
    *ret_is_done = false;
    vim->is_logging_in = true;
    return true;
}

bool vim_login(struct vim *vim, uint64_t seen, const struct cancel *cancel,
               struct err *err)
{
    bool is_done = false;
    if (!join_login(vim, seen, cancel, &is_done, err))
        return false;
    if (is_done)
        return true;
    struct err tried = ERR_INIT;
    bool ok = log_in_now(vim, cancel, &tried);
    LOCK_GUARD(&vim->lock);
    vim->is_logging_in = false;
    vim->login_failure = tried.kind == FAIL_CANCELED ? ERR_INIT : tried;
    vim->login_failed_ms = clock_mono_ms();
    if (ok)
        vim->generation++;
    else
        *err = tried;
    (void)pthread_cond_broadcast(&vim->login_done);
    return ok;
}

struct secret *vim_cookie_copy(struct vim *vim, uint64_t *ret_generation)
{
    LOCK_GUARD(&vim->lock);
    *ret_generation = vim->generation;
    return vim->cookie ? secret_new(vim->cookie->data, vim->cookie->bytes) : NULL;
}
