/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A channel of c-ares per question: resolv.conf is read each time, so that a change of it
 * counts at once, and nothing has to be shared or locked. Its sockets are polled together
 * with the cancel token.
 *
 * N1  a question ends by its deadline, or when its token is set;
 * N2  when one family has answered with addresses, the other gets FAMILY_GRACE_MS more:
 *     some servers never answer AAAA;
 * N3  what came is believed only as far as dns_message.h reads it;
 * N4  c-ares 1.18 says "connection refused" also when every server answered SERVFAIL or
 *     REFUSED (seen); asked once more it is told to hand such an answer over.
 */
#include "netpath/resolve.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "netpath/address.h"
#include "netpath/dns_message.h"
#include "netpath/hosts.h"

#include <ares.h>
#include <ctype.h>
#include <errno.h>
#include <poll.h>

#define DEADLINE_MS     8000
#define TRY_MS          1500 /* one server, the first time; c-ares doubles it */
#define TRIES           2
#define FAMILY_GRACE_MS 500
#define NAME_MAX_BYTES  253

struct question {
    bool is_done;
    int status; /* of c-ares */
    struct path_answer answer;
};

struct asking {
    const struct resolve_options *options;
    const char *host;
    bool takes_refusals; /* SERVFAIL is an answer: else the next server is asked */
    ares_channel channel;
    char servers[RESOLVE_SERVERS_BYTES]; /* for people */
    struct question questions[2];        /* A, AAAA */
};

static pthread_once_t ares_once = PTHREAD_ONCE_INIT;

static void init_ares(void)
{
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
        abort(); /* out of memory, as in xcalloc */
}

bool resolve_host_is_plain(const char *host)
{
    size_t bytes = strlen(host), part = 0;
    if (bytes && host[bytes - 1] == '.')
        bytes--;
    if (!bytes || bytes > NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        if (host[i] == '.') {
            if (!part)
                return false;
            part = 0;
        } else if (!isalnum((unsigned char)host[i]) && !strchr("-_", host[i])) {
            return false;
        } else if (++part > 63) {
            return false;
        }
    }
    return part > 0;
}

/* ---- the servers ---- */

static bool check_server(const char *text, struct err *err)
{
    char work[ADDRESS_TEXT_BYTES + 8];
    struct address address;
    uint64_t port;
    bool ok = strlen(text) < sizeof work;
    if (ok && !address_parse(text, &address)) {
        text_copy(work, sizeof work, text);
        char *colon = strrchr(work, ':');
        ok = colon && (strchr(work, ':') == colon || work[0] == '[');
        if (ok) {
            *colon = 0;
            ok = address_parse(work, &address) &&
                 text_parse_u64(colon + 1, 1, UINT16_MAX, &port, err);
        }
    }
    if (!ok)
        return err_set(err, FAIL_INPUT,
                       "'%.80s' is no address of a name server; write 10.0.0.53, "
                       "10.0.0.53:5353 or [fd00::53]:5353",
                       text);
    return true;
}

bool resolve_check_servers(const char *servers, struct err *err)
{
    const char *at = servers;
    for (;;) {
        char one[128];
        size_t bytes = strcspn(at, ",");
        (void)snprintf(one, sizeof one, "%.*s", (int)MIN_OF(bytes, sizeof one), at);
        if (!check_server(one, err))
            return false;
        if (!at[bytes])
            return true;
        at += bytes + 1;
    }
}

/* What they are, for texts. */
static void name_servers(struct asking *asking)
{
    struct ares_addr_port_node *servers = NULL;
    bool is_system = asking->options->servers == NULL;
    AUTO(buf_release) struct buf text = {0};
    if (ares_get_servers_ports(asking->channel, &servers) != ARES_SUCCESS)
        servers = NULL;
    for (const struct ares_addr_port_node *s = servers; s; s = s->next) {
        char one[ADDRESS_TEXT_BYTES] = "?";
        (void)ares_inet_ntop(s->family, &s->addr, one, sizeof one); /* room is there */
        buf_printf(&text, "%s%s", text.bytes ? ", " : "", one);
        if (s->udp_port && s->udp_port != 53)
            buf_printf(&text, ":%d", s->udp_port);
    }
    ares_free_data(servers);
    (void)snprintf(asking->servers, sizeof asking->servers, "%s%s",
                   is_system ? "system resolver " : "", buf_text(&text));
}

static bool open_channel(struct asking *asking, struct err *err)
{
    struct ares_options options = {.timeout = TRY_MS, .tries = TRIES};
    const char *servers = asking->options->servers;
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_FLAGS | ARES_OPT_LOOKUPS |
               ARES_OPT_NOROTATE;
    char lookups[] = "b"; /* files are looked at before us */
    options.lookups = lookups;
    options.flags = (asking->options->is_absolute ? ARES_FLAG_NOSEARCH : 0) |
                    (asking->takes_refusals ? ARES_FLAG_NOCHECKRESP : 0);
    int status = ares_init_options(&asking->channel, &options, mask);
    if (status != ARES_SUCCESS)
        return err_set(err, FAIL_TRANSIENT, "set up the resolver: %s",
                       ares_strerror(status));
    if (servers &&
        (status = ares_set_servers_ports_csv(asking->channel, servers)) != ARES_SUCCESS) {
        ares_destroy(asking->channel);
        return err_set(err, FAIL_INPUT, "name servers '%.100s': %s", servers,
                       ares_strerror(status));
    }
    name_servers(asking);
    return true;
}

/* ---- asking ---- */

static void take_answer(void *ctx, int status, int timeouts, unsigned char *data,
                        int data_bytes)
{
    struct question *question = ctx;
    (void)timeouts;
    question->is_done = true;
    question->status = status;
    question->answer.ttl_s = UINT32_MAX;
    bool is_whole = data && data_bytes > 0 &&
                    dns_message_read(data, (size_t)data_bytes, &question->answer);
    if (!is_whole)
        question->answer.address_count = question->answer.chain_count = 0;
    if (status == ARES_SUCCESS && !question->answer.address_count)
        question->status = is_whole ? ARES_ENODATA : ARES_EBADRESP;
}

static int wait_ms(struct asking *asking, uint64_t until_ms)
{
    struct timeval most, result;
    uint64_t now_ms = clock_mono_ms();
    uint64_t left_ms = until_ms > now_ms ? until_ms - now_ms : 0;
    most.tv_sec = (time_t)(left_ms / 1000);
    most.tv_usec = (suseconds_t)(left_ms % 1000 * 1000);
    const struct timeval *wait = ares_timeout(asking->channel, &most, &result);
    return (int)(wait->tv_sec * 1000 + (wait->tv_usec + 999) / 1000);
}

/* One turn of waiting and working; false: canceled. */
static bool turn(struct asking *asking, uint64_t until_ms, struct err *err)
{
    ares_socket_t sockets[ARES_GETSOCK_MAXNUM];
    struct pollfd polled[ARES_GETSOCK_MAXNUM + 1];
    const struct cancel *cancel = asking->options->cancel;
    unsigned bits = (unsigned)ares_getsock(asking->channel, sockets, ARES_GETSOCK_MAXNUM);
    nfds_t count = 0;
    for (unsigned i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
        /* ares.h's own macros shift an int out of its range. */
        bool reads = bits & 1u << i, writes = bits & 1u << (i + ARES_GETSOCK_MAXNUM);
        short events = (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0));
        if (events)
            polled[count++] = (struct pollfd){sockets[i], events, 0};
    }
    polled[count] = (struct pollfd){cancel ? cancel->event_fd : -1, POLLIN, 0};
    int ready = poll(polled, count + 1, wait_ms(asking, until_ms));
    if (!cancel_check(cancel, err))
        return false;
    if (ready <= 0) { /* EINTR too: just a turn */
        ares_process_fd(asking->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
        return true;
    }
    for (nfds_t i = 0; i < count; i++)
        if (polled[i].revents)
            ares_process_fd(asking->channel,
                            polled[i].revents & ~POLLOUT ? polled[i].fd : ARES_SOCKET_BAD,
                            polled[i].revents & POLLOUT ? polled[i].fd : ARES_SOCKET_BAD);
    return true;
}

static bool has_addresses(const struct question *question)
{
    return question->is_done && question->answer.address_count > 0;
}

static bool ask(struct asking *asking, struct err *err)
{
    const struct resolve_options *options = asking->options;
    uint64_t until_ms =
        clock_mono_ms() + (options->deadline_ms ? options->deadline_ms : DEADLINE_MS);
    static const int TYPES[] = {DNS_A, DNS_AAAA};
    struct question *q = asking->questions;
    bool is_grace = false;
    for (size_t i = 0; i < ARRAY_COUNT(TYPES); i++)
        ares_search(asking->channel, asking->host, 1, TYPES[i], take_answer, &q[i]);
    while (!q[0].is_done || !q[1].is_done) {
        if (!is_grace && (has_addresses(&q[0]) || has_addresses(&q[1]))) { /* N2 */
            is_grace = true;
            until_ms = MIN_OF(until_ms, clock_mono_ms() + FAMILY_GRACE_MS);
        }
        if (clock_mono_ms() >= until_ms)
            break;
        if (!turn(asking, until_ms, err))
            return false;
    }
    ares_cancel(asking->channel); /* calls back what is still open */
    return true;
}

/* ---- what came ---- */

static void add_addresses(struct path_answer *ret, const struct path_answer *more)
{
    for (size_t i = 0; i < more->address_count && ret->address_count < PATH_MAX_ADDRESSES;
         i++)
        text_copy(ret->addresses[ret->address_count++], sizeof ret->addresses[0],
                  more->addresses[i]);
}

enum path_class resolve_class(const struct path_answer *answer)
{
    bool is_loopback = true;
    for (size_t i = 0; i < answer->address_count; i++) {
        struct address address;
        enum path_class class = address_parse(answer->addresses[i], &address)
                                    ? address_class(&address)
                                    : PATH_PUBLIC;
        if (class == PATH_PUBLIC)
            return PATH_PUBLIC;
        is_loopback = is_loopback && class == PATH_LOOPBACK;
    }
    return is_loopback ? PATH_LOOPBACK : PATH_PRIVATE;
}

static void gather(const struct asking *asking, struct path_answer *ret)
{
    const struct path_answer *a = &asking->questions[0].answer,
                             *b = &asking->questions[1].answer;
    const struct path_answer *longer = b->chain_count > a->chain_count ? b : a;
    bool is_same = longer->chain_count && hosts_same_name(longer->chain[0], asking->host);
    size_t first = is_same ? 0 : 1; /* a search domain was appended */
    text_copy(ret->chain[0], PATH_NAME_BYTES, asking->host);
    ret->chain_count = MIN_OF(longer->chain_count + first, (size_t)PATH_MAX_CHAIN);
    for (size_t i = first; i < ret->chain_count; i++)
        text_copy(ret->chain[i], PATH_NAME_BYTES, longer->chain[i - first]);
    ret->address_count = 0;
    add_addresses(ret, a);
    add_addresses(ret, b);
    ret->ttl_s = UINT32_MAX;
    for (size_t i = 0; i < 2; i++)
        if (asking->questions[i].answer.address_count)
            ret->ttl_s = MIN_OF(ret->ttl_s, asking->questions[i].answer.ttl_s);
    ret->class = resolve_class(ret);
    text_copy(ret->from, sizeof ret->from, asking->servers);
}

static bool is_no_such_name(int status)
{
    return status == ARES_ENOTFOUND || status == ARES_ENODATA;
}

static bool explain(const struct asking *asking, const struct path_answer *answer,
                    struct err *err)
{
    int a = asking->questions[0].status, b = asking->questions[1].status;
    const char *last = answer->chain[answer->chain_count - 1];
    bool is_alias = answer->chain_count > 1;
    if (is_no_such_name(a) && is_no_such_name(b)) {
        const char *what = a == ARES_ENOTFOUND ? "does not exist" : "has no address";
        if (is_alias)
            return err_set(err, FAIL_GONE,
                           "name '%.120s' is an alias of '%.120s', which %s (asked: %s); "
                           "the record is missing in that zone, or the alias is stale",
                           asking->host, last, what, asking->servers);
        return err_set(err, FAIL_GONE,
                       "name '%.120s' %s (asked: %s); check its spelling "
                       "and which name servers know it",
                       asking->host, what, asking->servers);
    }
    int status = is_no_such_name(a) ? b : a;
    if (status == ARES_ECANCELLED || status == ARES_ETIMEOUT ||
        status == ARES_ECONNREFUSED)
        return err_set(err, FAIL_TRANSIENT,
                       "no name server answers for '%.120s' (asked: %s)%s; can this host "
                       "reach them on port 53?",
                       asking->host, asking->servers,
                       status == ARES_ECONNREFUSED ? ", the connection was refused" : "");
    return err_set(err, FAIL_TRANSIENT,
                   "name servers cannot answer for '%.120s': %s (asked: %s)",
                   asking->host,
                   status == ARES_ESERVFAIL  ? "SERVFAIL"
                   : status == ARES_EREFUSED ? "REFUSED"
                                             : ares_strerror(status),
                   asking->servers);
}

static bool ask_once(struct asking *asking, struct path_answer *ret, struct err *err)
{
    memset(asking->questions, 0, sizeof asking->questions);
    if (!open_channel(asking, err))
        return false;
    bool ok = ask(asking, err);
    ares_destroy(asking->channel);
    if (!ok)
        return false;
    gather(asking, ret);
    return ret->address_count > 0 || explain(asking, ret, err);
}

bool resolve_name(const struct resolve_options *options, const char *host,
                  struct path_answer *ret, struct err *err)
{
    (void)pthread_once(&ares_once, init_ares);
    *ret = (struct path_answer){.chain_count = 0};
    if (!resolve_host_is_plain(host))
        return err_set(err, FAIL_INPUT, "'%.120s' is no host name", host);
    struct asking *asking = xcalloc(1, sizeof *asking);
    struct err why = ERR_INIT;
    asking->options = options;
    asking->host = host;
    bool ok = ask_once(asking, ret, &why);
    if (!ok && asking->questions[0].status == ARES_ECONNREFUSED) { /* N4 */
        err_clear(&why);
        asking->takes_refusals = true;
        ok = ask_once(asking, ret, &why);
    }
    free(asking);
    if (!ok)
        *err = why;
    return ok;
}
