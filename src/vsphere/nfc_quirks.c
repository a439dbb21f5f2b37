/* SPDX-License-Identifier: Apache-2.0 */
/* The defaults, and the log of what was met; the reasons stand in the header. */
#include "vsphere/nfc_quirks.h"

#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

static const char *const NAMES[NFC_MET_COUNT] = {
    [NFC_MET_HANDSHAKE_ORDER] = "handshake_order",
    [NFC_MET_VERSION_FLAG] = "version_flag",
    [NFC_MET_SERVER_VERSION] = "server_version",
    [NFC_MET_LIB_VERSION] = "lib_version",
    [NFC_MET_BUFFER_REFUSED] = "buffer_refused",
    [NFC_MET_PIPELINING] = "pipelining",
    [NFC_MET_INTERLEAVED] = "interleaved",
    [NFC_MET_OUT_OF_ORDER] = "out_of_order",
    [NFC_MET_SHORT_IO_REPLY] = "short_io_reply",
    [NFC_MET_SHA2_DIFFERS] = "sha2_differs",
    [NFC_MET_TLS2_BY_SHA2] = "tls2_by_sha2",
    [NFC_MET_LEGACY_TLS] = "legacy_tls",
    [NFC_MET_AUTHD_REFUSAL] = "authd_refusal",
    [NFC_MET_ERROR_PAYLOAD] = "error_payload",
    [NFC_MET_UNKNOWN_MESSAGE] = "unknown_message",
    [NFC_MET_IDLE_LOSS] = "idle_loss",
    [NFC_MET_OUT_OF_MEMORY] = "out_of_memory",
};

const char *nfc_compression_name(enum nfc_compression compression)
{
    static const char *const names[] = {"stored", "zlib", "fastlz", "skipz"};
    return (unsigned)compression < ARRAY_COUNT(names) ? names[compression] : "unknown";
}

struct nfc_quirks nfc_quirks_default(void)
{
    return (struct nfc_quirks){
        .handshake = NFC_AUTO,
        .needs_version_flag = true,
        .data_min_version = 3,
        .client_name = "kedge",
        .features = 3,
        .buffer_bytes = 64 * 1024,
        .buffer_count = 4,
        .session_options = true,
        .max_in_flight = 16,
        .compression = NFC_SKIPZ,
        .io_reply_min_bytes = 44,
        .needs_sha2_match = false,
        .tls2_by_sha2 = false,
        .legacy_tls = true,
        .error_code_at = 0,
        .path_escape = false,
    };
}

void nfc_unproven_met(enum nfc_unproven what, const char *fmt, ...)
{
    static _Atomic bool is_told[NFC_MET_COUNT];
    char text[400];
    char quoted[LOG_QUOTED_BYTES];
    if (is_told[what]) /* a plain load: this is called for every fragment */
        return;
    if (atomic_exchange(&is_told[what], true))
        return;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    log_info("nfc_unproven", "what=%s seen=%s", NAMES[what], log_quote(text, quoted));
}
