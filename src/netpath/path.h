/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How this process reaches the network: for each role of an endpoint through which proxy
 * or directly, by which name servers, and whether its address must be private. One table
 * per process, as there is one log: a connection deep inside a client asks here, so that
 * no caller can forget to. Replaced as a whole while connections run; the next connection
 * follows the new one.
 *
 * Knows names, addresses and rules; opens no connection but those to name servers.
 * Any thread.
 */
#ifndef NETPATH_PATH_H
#define NETPATH_PATH_H

#include "base/cancel.h"
#include "base/finding.h"
#include "base/secret.h"

/* What an endpoint is for us. Names in configuration, API and log: path_role_name. */
enum path_role {
    ROLE_OTHER,         /* not said: direct rules apply as to all */
    ROLE_LOG_STORE,     /* cache storage account (lsa...) */
    ROLE_STATE_STORE,   /* gateway storage account (gwsa...) */
    ROLE_REPLICA_STORE, /* page blobs of the replicas */
    ROLE_KEY_VAULT,
    ROLE_BUS,
    ROLE_ARM,
    ROLE_ENTRA,
    ROLE_VCENTER,
    ROLE_ESXI,
    ROLE_LOCAL, /* this host's own services (metadata, Unix sockets): never a proxy */
    ROLE_COUNT,
};
const char *path_role_name(enum path_role role); /* "log-store", ... */
MUST_CHECK bool path_role_parse(const char *name, enum path_role *ret, struct err *err);

enum path_class { PATH_PRIVATE, PATH_PUBLIC, PATH_LOOPBACK };

#define PATH_NAME_BYTES    256
#define PATH_MAX_CHAIN     16
#define PATH_MAX_ADDRESSES 16
#define PATH_MAX_PROXIES   4 /* addresses of a proxy */
#define PATH_RULE_BYTES    300

/* What resolving a name gave. */
struct path_answer {
    size_t chain_count; /* the name asked for first, then each CNAME */
    char chain[PATH_MAX_CHAIN][PATH_NAME_BYTES];
    size_t address_count;
    char addresses[PATH_MAX_ADDRESSES][64];
    enum path_class class; /* PATH_PUBLIC when any address is public */
    uint32_t ttl_s;        /* lowest of the chain */
    char from[80]; /* "system resolver", "10.0.0.53", "hosts entry (for testing)" */
};
/* FAIL_GONE: no such name (NXDOMAIN or no address); FAIL_TRANSIENT: no name server
 * answers; each names the servers asked. */
MUST_CHECK bool path_resolve(enum path_role role, const char *host,
                             const struct cancel *cancel, struct path_answer *ret,
                             struct err *err);

/* How a connection is to be made. */
struct path_choice {
    char proxy_url[PATH_NAME_BYTES];  /* "http://host:port"; "" : direct */
    char proxy_user[PATH_NAME_BYTES]; /* ""; the proxy is not told who asks */
    char proxy_host[PATH_NAME_BYTES];
    uint16_t proxy_port;
    size_t proxy_address_count;
    char proxy_addresses[PATH_MAX_PROXIES][64];
    const struct secret *proxy_password; /* lives until path_choice_release; NULL */
    char rule[PATH_RULE_BYTES];          /* which rule said so, for people */
    size_t address_count;                /* 0: whoever connects resolves (a proxy does) */
    char addresses[PATH_MAX_ADDRESSES][64];
    enum path_class class;
    bool must_be_private;    /* whoever connects to a public address sends nothing */
    struct path_rules *hold; /* internal */
};
/*
 * url: "https://host[:port]". FAIL_CONFLICT: the role must be private and the name has a
 * public address, or goes through a proxy: nothing may be sent; the text says which. Else
 * as path_resolve.
 */
MUST_CHECK bool path_choose(enum path_role role, const char *url,
                            const struct cancel *cancel, struct path_choice *ret,
                            struct err *err);
void path_choice_release(struct path_choice *choice);

/* As path_choose, for a connection that has a proxy of its own (of a credential file):
 * that one wins over all rules but require_private. proxy: "http://[user@]host:port",
 * FAIL_INPUT otherwise; password borrowed, NULL. */
MUST_CHECK bool path_choose_proxy(enum path_role role, const char *url, const char *proxy,
                                  const struct secret *password,
                                  const struct cancel *cancel, struct path_choice *ret,
                                  struct err *err);

/* After the connection: false with FAIL_CONFLICT when address is public and must not be.
 * To be asked before anything is sent. */
MUST_CHECK bool path_check_connected(enum path_role role,
                                     const struct path_choice *choice,
                                     const char *address, struct err *err);

/*
 * Before path_choose, by whoever is going to send: false, FAIL_TRANSIENT with since when
 * and until when, while nobody answers there (after several failures in a row; a probe
 * goes out now and then: then it is true for one caller, who must call path_observe).
 */
MUST_CHECK bool path_admit(enum path_role role, const char *url, struct err *err);

/* What a connection saw; kept per role and host for status and alarms. address: "" when
 * none was reached. */
void path_observe(enum path_role role, const char *url, const char *address,
                  uint64_t latency_ms, const struct err *err);

struct path_seen {
    enum path_role role;
    char host[PATH_NAME_BYTES];
    uint16_t port;
    char address[64];
    char proxy[PATH_NAME_BYTES]; /* "" direct */
    char rule[PATH_RULE_BYTES];
    enum path_class class;
    uint64_t at_unix_ms; /* of the last answer; 0: none yet */
    uint64_t latency_ms;
    uint64_t answers, failures;
    char problem[ERR_TEXT_BYTES]; /* of the last failure since the last answer; "" none */
};
/* At most max, by role and host; returns how many there are. */
size_t path_seen_list(struct path_seen *ret, size_t max);

/* ---- the rules ---- */

/* As in the configuration; borrowed for the call; NULL or "": not set. Lists are
 * separated by commas. */
struct path_settings {
    const char *proxy;               /* "http://[user@]host:port" */
    const char *proxy_password_file; /* mode 0600 */
    const char *proxy_roles;  /* "arm=proxy, log-store=direct"; the others by rules, but
                               * vcenter and esxi: direct */
    const char *proxy_bypass; /* netpath/bypass.h */
    const char *appliance_bypass; /* the same, from an appliance.json */
    const char *require_private;  /* "log-store, state-store" */
    const char *dns_servers;      /* "10.0.0.53, log-store=10.1.0.53:5353" */
    const char *hosts_file;       /* static entries, for testing; read at each use */
};

/* FAIL_INPUT names the setting and what is wrong in it; reads the files, changes nothing.
 */
MUST_CHECK bool path_check_settings(const struct path_settings *settings,
                                    struct err *err);
/* From the next connection on; what runs goes on by the old ones. Before the first call:
 * no proxy, the system's resolver. Failure changes nothing. */
MUST_CHECK bool path_configure(const struct path_settings *settings, struct err *err);

/* What is wrong in the rules in force for the endpoints seen so far and those known:
 * "bypass.catches": a wildcard that was meant for the log store's private endpoint also
 * catches an account that has none, and would be cut off. */
struct path_endpoint {
    enum path_role role;
    const char *url; /* "https://host[:port]" */
};
void path_check_rules(const struct path_endpoint *known, size_t count,
                      struct findings *ret);

/* ---- what changes ---- */

enum path_event_kind {
    PATH_EVENT_CHANGED,     /* other addresses, another proxy or rule */
    PATH_EVENT_PUBLIC,      /* alarm: a private endpoint's name is public now */
    PATH_EVENT_UNREACHABLE, /* nobody answers: calls fail at once until a probe succeeds
                             */
    PATH_EVENT_REACHABLE,
};
/* Called in the thread that noticed, without a lock, one at a time; must not call back
 * into this header. NULL: nobody. When it returns no call with the old one runs. */
typedef void (*path_listener)(void *ctx, enum path_event_kind kind, enum path_role role,
                              const char *host, const char *text);
void path_listen(path_listener listener, void *ctx);

/*
 * Whether new work for the role may begin. false: the reason; FAIL_CONFLICT an address
 * that must be private is not, FAIL_TRANSIENT nobody answers (since when, and when it is
 * tried again). Asks name servers when what they said has aged; makes no connection.
 */
MUST_CHECK bool path_role_ready(enum path_role role, const struct cancel *cancel,
                                struct err *err);

#endif
