/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to an endpoint, hop by hop: its name, proxy or direct, TCP, the proxy's tunnel,
 * TLS, and an HTTP answer with the clock behind it. No credential is used here.
 */
#include "doctor/doctor_impl.h"

#include "azure/request.h"
#include "base/clock.h"
#include "base/text.h"

#include <arpa/inet.h>

#define SKEW_WARN_S    60
#define SKEW_FAIL_S    240 /* tokens bear 5 min, signatures 15 min */
#define EXPIRES_SOON_S (14 * 86400)
#define DAY_BYTES      11

/* ---- name ---- */

static bool is_address(const char *host)
{
    struct in6_addr address;
    return inet_pton(AF_INET, host, &address) == 1 ||
           inet_pton(AF_INET6, host, &address) == 1;
}

static const char *class_name(enum path_class class)
{
    static const char *const NAMES[] = {
        [PATH_PRIVATE] = "private", [PATH_PUBLIC] = "public", [PATH_LOOPBACK] = "local"};
    return NAMES[class];
}

static bool has_private_link(const struct path_answer *answer)
{
    for (size_t i = 0; i < answer->chain_count; i++)
        if (strstr(answer->chain[i], ".privatelink."))
            return true;
    return false;
}

/* "a -> b -> 10.1.0.5 (private), by 10.0.0.53" */
static void chain_text(const struct path_answer *answer, struct buf *out)
{
    for (size_t i = 0; i < answer->chain_count; i++)
        buf_printf(out, "%s%s", i ? " -> " : "", answer->chain[i]);
    for (size_t i = 0; i < answer->address_count; i++)
        buf_printf(out, "%s%s", i ? ", " : " -> ", answer->addresses[i]);
    if (answer->address_count)
        buf_printf(out, " (%s)", class_name(answer->class));
    if (answer->from[0])
        buf_printf(out, ", by %s", answer->from);
}

/* No address, and the way needs one. */
static void name_failed(struct visit *visit, struct doctor_step *step,
                        const struct path_answer *answer, const struct err *err)
{
    AUTO(buf_release) struct buf chain = {0};
    chain_text(answer, &chain);
    if (err->kind == FAIL_GONE && answer->chain_count > 1)
        step_bad(
            visit, step, DOCTOR_FAILED,
            "a stale CNAME: remove it, or make the record it leads to (private zone, "
            "its A record, its link to the network)",
            "'%s' is an alias that leads to nothing: %s", visit->result->host,
            buf_text(&chain));
    else
        step_failed(visit, step, err, "check the name servers of this host");
}

static void name_found(struct visit *visit, struct doctor_step *step,
                       const struct path_answer *answer)
{
    AUTO(buf_release) struct buf chain = {0};
    chain_text(answer, &chain);
    if (visit->is_private_wanted && answer->class == PATH_PUBLIC)
        step_bad(visit, step, DOCTOR_FAILED,
                 "have the name server of this host answer from the private zone "
                 "(forward privatelink names to it, check its A record and link); for "
                 "testing a hosts entry",
                 "public answer where a private address is required: %s",
                 buf_text(&chain));
    else if (has_private_link(answer) && answer->class == PATH_PUBLIC)
        step_bad(visit, step, DOCTOR_WARNING,
                 "if data should take the circuit: have the name server of this host "
                 "answer from the private zone",
                 "it has a private endpoint, and the answer is public: %s",
                 buf_text(&chain));
    else
        step_ok(visit, step, "%s", buf_text(&chain));
}

/* ---- route ---- */

struct way {
    struct path_choice choice;
    bool has_choice;
    struct err why; /* without one */
    struct path_answer answer;
    bool has_answer;
    struct err no_answer;
};

static void find_way(struct visit *visit, struct way *way)
{
    const struct cancel *cancel = visit->options->cancel;
    const char *host = visit->result->host;
    way->has_choice = path_choose(visit->target->role, visit->result->origin, cancel,
                                  &way->choice, &way->why);
    way->has_answer =
        path_resolve(visit->target->role, host, cancel, &way->answer, &way->no_answer);
}

static void step_name(struct visit *visit, const struct way *way)
{
    struct doctor_step *step = visit_step(visit, "name");
    bool is_by_proxy = way->has_choice && way->choice.proxy_url[0];
    visit->is_private_wanted =
        way->has_choice ? way->choice.must_be_private : way->why.kind == FAIL_CONFLICT;
    if (!step)
        return;
    if (is_address(visit->result->host))
        step_ok(visit, step, "an address, no name: %s (%s)", visit->result->host,
                class_name(way->answer.class));
    else if (!way->has_answer && is_by_proxy)
        step_bad(visit, step, DOCTOR_SKIPPED, "", "the proxy resolves it; here: %.300s",
                 way->no_answer.text);
    else if (!way->has_answer)
        name_failed(visit, step, &way->answer, &way->no_answer);
    else
        name_found(visit, step, &way->answer);
}

static void step_route(struct visit *visit, const struct way *way)
{
    struct doctor_step *step = visit_step(visit, "route");
    struct doctor_result *result = visit->result;
    if (!step)
        return;
    if (!way->has_choice) {
        step_failed(visit, step, &way->why,
                    "check proxy and require_private in the configuration");
        return;
    }
    if (result->is_direct)
        step_ok(visit, step, "direct: %s", way->choice.rule);
    else
        step_ok(visit, step, "by proxy %s: %s", way->choice.proxy_url, way->choice.rule);
}

/* ---- connect, tunnel ---- */

static void connect_failed(struct visit *visit, struct doctor_step *step,
                           const struct way *way, const struct err *err, uint64_t took_ms)
{
    const char *where = way->choice.proxy_url[0]    ? way->choice.proxy_url
                        : way->choice.address_count ? way->choice.addresses[0]
                                                    : visit->result->host;
    if (err->kind != FAIL_TRANSIENT)
        step_failed(visit, step, err, "");
    else if (took_ms + 100 >= visit->deadline_ms)
        step_bad(visit, step, DOCTOR_FAILED,
                 "packets are dropped on the way: check the circuit, its routes, and the "
                 "firewalls to this address",
                 "%s is silent: no answer within %llu ms", where,
                 (unsigned long long)visit->deadline_ms);
    else
        step_bad(visit, step, DOCTOR_FAILED,
                 "is the address right, and does something listen there?", "%s: %s",
                 where, err->text);
}

static void step_connect(struct visit *visit, const struct way *way,
                         const struct http_peer *peer, const struct err *err)
{
    struct doctor_step *step = visit_step(visit, "connect");
    if (!step)
        return;
    if (peer->reach == REACH_NOTHING)
        connect_failed(visit, step, way, err, peer->tls_ms);
    else
        step_ok(visit, step, "%s%s answers after %llu ms",
                visit->result->is_direct ? "" : "the proxy at ", peer->address,
                (unsigned long long)peer->tcp_ms);
    step->took_ms = peer->tcp_ms;
}

static void step_tunnel(struct visit *visit, const struct way *way,
                        const struct http_peer *peer, const struct err *err)
{
    struct doctor_step *step =
        visit->result->is_direct ? NULL : visit_step(visit, "tunnel");
    if (!step)
        return;
    if (peer->reach >= REACH_HOST)
        step_ok(visit, step, "the proxy connects to %s", visit->result->host);
    else if (peer->proxy_status == 407 && way->choice.proxy_user[0])
        step_bad(visit, step, DOCTOR_FAILED, "check both with who runs the proxy",
                 "the proxy refuses user and password of '%s' (HTTP status 407)",
                 way->choice.proxy_user);
    else if (peer->proxy_status == 407)
        step_bad(visit, step, DOCTOR_FAILED,
                 "name its user (http://USER@HOST:PORT) and the file with the password",
                 "the proxy demands authentication (HTTP status 407)");
    else if (peer->proxy_status)
        step_bad(visit, step, DOCTOR_FAILED,
                 "allow this host and port in the proxy's rules",
                 "the proxy refuses to connect to '%s' (HTTP status %u)",
                 visit->result->host, peer->proxy_status);
    else
        step_failed(visit, step, err, "check the proxy");
}

/* ---- TLS ---- */

static const char *day_text(uint64_t unix_s, char out[CLOCK_TEXT_BYTES])
{
    (void)clock_wall_text(unix_s * 1000, out);
    out[DAY_BYTES - 1] = 0;
    return out;
}

/* The handshake did not come to a certificate. */
static void tls_failed(struct visit *visit, struct doctor_step *step,
                       const struct err *err)
{
    struct http_peer old;
    struct err ignored = ERR_INIT;
    struct http_peer_options options = {.take_old = true,
                                        .cancel = visit->options->cancel};
    if (err->kind == FAIL_AUTH &&
        http_endpoint_peer(visit->endpoint, &options, &old, &ignored) &&
        old.has_certificate)
        step_bad(visit, step, DOCTOR_FAILED,
                 "raise what the other side speaks, or find the device on the way that "
                 "lowers it",
                 "'%s' speaks %s at most, which is refused: TLS 1.2 or later is needed",
                 visit->result->host, old.protocol);
    else
        step_failed(visit, step, err, "check scheme, port and what stands on the way");
}

static void judge_certificate(struct visit *visit, struct doctor_step *step,
                              const struct http_peer *peer)
{
    char day[CLOCK_TEXT_BYTES];
    uint64_t now_s = clock_wall_ms() / 1000;
    bool has_pin = visit->target->pin || (visit->has_access && visit->access.has_pin);
    if (!peer->is_trusted)
        step_bad(visit, step, DOCTOR_FAILED,
                 "name its CA (ca_file); a proxy that opens TLS puts its own certificate "
                 "in: exempt this host there",
                 "certificate '%s' by '%s' is not trusted: %s", peer->subject,
                 peer->issuer, peer->problem);
    else if (!has_pin && !peer->name_matches)
        step_bad(visit, step, DOCTOR_FAILED,
                 "the name leads to another server: check DNS and hosts entries",
                 "certificate is for %s, not for '%s'",
                 peer->names[0] ? peer->names : peer->subject, visit->result->host);
    else if (!has_pin && now_s > peer->valid_until_unix_s)
        step_bad(visit, step, DOCTOR_FAILED, "renew it, or check the clock of this host",
                 "certificate of '%s' has expired on %s", visit->result->host,
                 day_text(peer->valid_until_unix_s, day));
    else if (!has_pin && now_s < peer->valid_from_unix_s)
        step_bad(visit, step, DOCTOR_FAILED, "check the clock of this host",
                 "certificate of '%s' is valid only from %s on", visit->result->host,
                 day_text(peer->valid_from_unix_s, day));
    else if (!has_pin && now_s + EXPIRES_SOON_S > peer->valid_until_unix_s)
        step_bad(visit, step, DOCTOR_WARNING, "renew it",
                 "certificate of '%s' ends on %s", visit->result->host,
                 day_text(peer->valid_until_unix_s, day));
    else
        step_ok(visit, step, "%s, certificate by '%s' for %s until %s", peer->protocol,
                peer->issuer, peer->names[0] ? peer->names : peer->subject,
                day_text(peer->valid_until_unix_s, day));
}

static void step_tls(struct visit *visit, const struct http_peer *peer, bool is_done,
                     const struct err *err)
{
    struct doctor_step *step = text_starts_with(visit->result->origin, "https://")
                                   ? visit_step(visit, "tls")
                                   : NULL;
    if (!step)
        return;
    if (!peer->has_certificate && !is_done)
        tls_failed(visit, step, err);
    else
        judge_certificate(visit, step, peer);
    step->took_ms += peer->tls_ms > peer->tcp_ms ? peer->tls_ms - peer->tcp_ms : 0;
}

/* ---- clock ---- */

static void judge_clock(struct visit *visit, struct doctor_step *step,
                        const struct http_answer *answer)
{
    char text[64];
    uint64_t there_s, here_s = clock_wall_ms() / 1000;
    if (!http_answer_header(answer, "Date", text, sizeof text) ||
        !azure_date_parse(text, &there_s)) {
        step_ok(visit, step, "answers after %llu ms, without a date",
                (unsigned long long)answer->latency_ms);
        return;
    }
    uint64_t off_s = here_s > there_s ? here_s - there_s : there_s - here_s;
    if (off_s < SKEW_WARN_S)
        step_ok(visit, step, "answers after %llu ms, clocks agree within %llu s",
                (unsigned long long)answer->latency_ms, (unsigned long long)off_s + 1);
    else
        step_bad(visit, step, off_s >= SKEW_FAIL_S ? DOCTOR_FAILED : DOCTOR_WARNING,
                 "set it by NTP: signatures and tokens are refused when it is minutes "
                 "off",
                 "the clock of this host is %llu s %s that of '%s'",
                 (unsigned long long)off_s, here_s > there_s ? "ahead of" : "behind",
                 visit->result->host);
}

/* Any answer will do: nobody is asked for anything. */
static void step_clock(struct visit *visit)
{
    struct doctor_step *step = visit_step(visit, "clock");
    AUTO(http_answer_release) struct http_answer answer = {0};
    struct err err = ERR_INIT;
    struct http_request request = {.method = "GET",
                                   .path = "/",
                                   .deadline_ms = 2 * visit->deadline_ms,
                                   .cancel = visit->options->cancel};
    if (!step)
        return;
    if (http_exchange(visit->endpoint, &request, &answer, &err))
        judge_clock(visit, step, &answer);
    else
        step_failed(visit, step, &err, "it took the connection and does not answer");
}

void visit_reach(struct visit *visit)
{
    struct way way = {0};
    struct http_peer peer = {0};
    struct err err = ERR_INIT;
    bool is_done = false;
    visit->began_ms = clock_mono_ms();
    find_way(visit, &way);
    visit->result->is_direct = !way.has_choice || !way.choice.proxy_url[0];
    step_name(visit, &way);
    step_route(visit, &way);
    if (!doctor_first_failure(visit->result) && !cancel_is_set(visit->options->cancel)) {
        uint64_t began_ms = clock_mono_ms();
        struct http_peer_options options = {.cancel = visit->options->cancel};
        is_done = http_endpoint_peer(visit->endpoint, &options, &peer, &err);
        if (!peer.tls_ms)
            peer.tls_ms = clock_mono_ms() - began_ms;
    }
    step_connect(visit, &way, &peer, &err);
    step_tunnel(visit, &way, &peer, &err);
    step_tls(visit, &peer, is_done, &err);
    if (visit->target->kind != DOCTOR_PORT)
        step_clock(visit);
    if (way.has_choice)
        path_choice_release(&way.choice);
}
