/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text parsers that meet people and peers: byte 0 picks configuration, route, machine
 * definition, or the scalar parsers of base/text.h. None may crash, hang or succeed with
 * something it would not take again.
 */
#include "fuzz.h"

#include "api/route.h"
#include "base/text.h"
#include "daemon/config.h"
#include "http/machine_json.h"

static void try_config(const char *text, size_t text_bytes)
{
    struct config config = {0};
    struct err err = ERR_INIT;
    if (config_parse_text("fuzz", text, text_bytes, &config, &err))
        config_release(&config);
    else if (err.kind == FAIL_NONE || err.text[0] == 0)
        abort();
}

static void try_route(const char *text)
{
    struct api_match match;
    struct err err = ERR_INIT;
    if (!api_route_match("GET", text, &match, &err) && err.kind != FAIL_GONE &&
        err.kind != FAIL_INPUT)
        abort();
}

static void try_machine(const char *text, size_t text_bytes)
{
    struct machine_def *machine = xcalloc(1, sizeof *machine);
    struct machine_def *again = xcalloc(1, sizeof *again);
    struct err err = ERR_INIT;
    AUTO(json_free) json_t *json = json_parse("fuzz", text, text_bytes, &err);
    if (json && machine_from_json(json, machine, &err)) {
        AUTO(json_free) json_t *back = machine_to_json(machine);
        if (!machine_from_json(back, again, &err) ||
            memcmp(machine, again, sizeof *again) != 0)
            abort();
    }
    free(machine);
    free(again);
}

static void try_scalars(const char *text)
{
    struct err err = ERR_INIT;
    uint64_t v;
    bool yes;
    if (text_parse_size(text, 1, 1 * TIB, &v, &err) && (v < 1 || v > 1 * TIB))
        abort();
    err_clear(&err);
    if (!text_parse_duration_ms(text, &v, &err) && err.kind != FAIL_INPUT)
        abort();
    err_clear(&err);
    if (!text_parse_bool(text, &yes, &err) && err.kind != FAIL_INPUT)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_bytes)
{
    AUTO(buf_release) struct buf text = {0};
    if (data_bytes == 0)
        return 0;
    buf_append(&text, data + 1, data_bytes - 1);
    switch (data[0] & 3) {
    case 0:
        try_config(buf_text(&text), text.bytes);
        break;
    case 1:
        try_route(buf_text(&text));
        break;
    case 2:
        try_machine(buf_text(&text), text.bytes);
        break;
    default:
        try_scalars(buf_text(&text));
    }
    return 0;
}
