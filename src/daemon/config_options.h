/* SPDX-License-Identifier: Apache-2.0 */
/* The table of options; used by the parser and the printers of the configuration. */
#ifndef DAEMON_CONFIG_OPTIONS_H
#define DAEMON_CONFIG_OPTIONS_H

#include "daemon/config.h"

enum option_type {
    OPTION_PATH,      /* absolute */
    OPTION_STORE,     /* as store_check_address takes it */
    OPTION_CHOICE,    /* one of choices */
    OPTION_LISTEN,    /* "none" or a loopback host:port */
    OPTION_ZONE,      /* "local" or a time zone */
    OPTION_FILE,      /* "none" or an absolute path */
    OPTION_REFERENCE, /* "none", or as secret_read takes it */
    OPTION_KEYS,      /* "file", or as keys_open takes it */
    OPTION_NETWORK,   /* "none", or as path_settings takes it */
    OPTION_NAME,      /* "none" or a name */
    OPTION_NUMBER,    /* min..max */
    OPTION_SIZE,      /* bytes, with K M G T; min..max */
    OPTION_DURATION,  /* ms; min..max */
    OPTION_BOOL,
};

struct config_option {
    const char *name;
    enum option_type type;
    const char *fallback; /* as it would be written; $data_dir is replaced */
    uint64_t min, max;
    const char *const *choices;
    size_t offset;    /* of the field in struct config */
    bool is_reloaded; /* SIGHUP takes a new value */
    const char *help; /* one line, no full stop */
    const char *man;  /* sentences for the manual; NULL: help says it all */
};

const struct config_option *config_options(size_t *ret_count);

/* "64K to 64M", "none or HOST:PORT" … for help and errors. */
void config_option_values(const struct config_option *option, struct buf *out);

/* The value as it would be written in the file. */
void config_option_value(const struct config_option *option, const struct config *config,
                         struct buf *out);

static inline char **config_text_at(const struct config *config,
                                    const struct config_option *option)
{
    return (char **)(void *)((char *)(uintptr_t)config + option->offset);
}

static inline uint64_t *config_number_at(const struct config *config,
                                         const struct config_option *option)
{
    return (uint64_t *)(void *)((char *)(uintptr_t)config + option->offset);
}

static inline bool *config_bool_at(const struct config *config,
                                   const struct config_option *option)
{
    return (bool *)(void *)((char *)(uintptr_t)config + option->offset);
}

#endif
