/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text to values and back. Pure; any thread.
 * Parsers accept the whole string or fail with FAIL_INPUT naming the text and the reason.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include "base/err.h"

/* Decimal digits only, min <= value <= max. */
MUST_CHECK bool text_parse_u64(const char *text, uint64_t min, uint64_t max,
                               uint64_t *ret, struct err *err);

/* "65536", "64K", "8M", "1.5G" is refused: whole numbers with K M G T (powers of 1024).
 */
MUST_CHECK bool text_parse_size(const char *text, uint64_t min, uint64_t max,
                                uint64_t *ret, struct err *err);

/* Bytes a second: "10M", "10MB/s", "512KiB/s" (powers of 1024), "80Mbit/s", "1Gbit/s"
 * (powers of 1000, as links are sold); "0" and "off": no bound. */
MUST_CHECK bool text_parse_rate(const char *text, uint64_t *ret_bps, struct err *err);

/* "90s", "15m", "1d7h", "250ms", "0"; the result is milliseconds. */
MUST_CHECK bool text_parse_duration_ms(const char *text, uint64_t *ret, struct err *err);

/* yes/no, true/false, on/off, 1/0 */
MUST_CHECK bool text_parse_bool(const char *text, bool *ret, struct err *err);

/* For people: "1.5 GiB", "12.3 MiB/s", "1h 02m", "45s"; out is returned. */
#define TEXT_HUMAN_BYTES 32
const char *text_bytes(uint64_t bytes, char out[TEXT_HUMAN_BYTES]);
const char *text_duration(uint64_t ms, char out[TEXT_HUMAN_BYTES]);

/* out has 2 * data_bytes + 1 chars. */
void text_hex(const uint8_t *data, size_t data_bytes, char *out);
/* Exactly 2 * out_bytes hex digits, else FAIL_INPUT. */
MUST_CHECK bool text_unhex(const char *hex, uint8_t *out, size_t out_bytes,
                           struct err *err);

bool text_starts_with(const char *text, const char *prefix);
bool text_ends_with(const char *text, const char *suffix);

/* A name a person may give: 1..63 of [A-Za-z0-9._-], first one alphanumeric. */
MUST_CHECK bool text_check_name(const char *what, const char *name, struct err *err);

/* Copies with cut at the end; out is always terminated. */
void text_copy(char *out, size_t out_bytes, const char *text);

#endif
