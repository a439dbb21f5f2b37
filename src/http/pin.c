/* SPDX-License-Identifier: Apache-2.0 */
/* Fingerprints of certificates as people read and write them. */
#include "http/exchange.h"

#include "base/text.h"

#include <ctype.h>

const char *http_pin_text(const uint8_t pin[HTTP_PIN_BYTES],
                          char out[HTTP_PIN_TEXT_BYTES])
{
    for (size_t i = 0; i < HTTP_PIN_BYTES; i++)
        (void)snprintf(out + 3 * i, 4, "%02X%s", pin[i],
                       i + 1 < HTTP_PIN_BYTES ? ":" : "");
    return out;
}

bool http_pin_parse(const char *text, uint8_t ret_pin[HTTP_PIN_BYTES], struct err *err)
{
    char hex[2 * HTTP_PIN_BYTES + 1];
    bool has_colons = strchr(text, ':') != NULL;
    size_t count = 0, length = strlen(text);
    bool ok = length == 2 * HTTP_PIN_BYTES + (has_colons ? HTTP_PIN_BYTES - 1 : 0);
    for (size_t i = 0; ok && i < length; i++) {
        if (has_colons && i % 3 == 2)
            ok = text[i] == ':';
        else if ((ok = isxdigit((unsigned char)text[i]) != 0))
            hex[count++] = text[i];
    }
    if (!ok)
        return err_set(
            err, FAIL_INPUT,
            "'%.100s' is no SHA-256 fingerprint; write 32 pairs of hex digits, "
            "AB:CD:...",
            text);
    hex[count] = 0;
    return text_unhex(hex, ret_pin, HTTP_PIN_BYTES, err);
}
