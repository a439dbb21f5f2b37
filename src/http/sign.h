/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests, signatures and encodings that HTTP services ask of their callers. Pure, any
 * thread; only what reads a file can fail for a reason outside.
 */
#ifndef HTTP_SIGN_H
#define HTTP_SIGN_H

#include "base/buf.h"
#include "base/secret.h"

#define SIGN_MD5_BYTES    16
#define SIGN_SHA256_BYTES 32

void sign_md5(const void *data, size_t data_bytes, uint8_t ret[SIGN_MD5_BYTES]);
void sign_hmac_sha256(const struct secret *key, const void *data, size_t data_bytes,
                      uint8_t ret[SIGN_SHA256_BYTES]);

/* Appended. The URL's alphabet is written without '='. */
void sign_base64(const void *data, size_t data_bytes, struct buf *out);
void sign_base64_url(const void *data, size_t data_bytes, struct buf *out);
/* The bytes of a base64 text, 1 .. SECRET_MAX_BYTES of them, as a secret; FAIL_INPUT
 * (without the text) when it is none. */
MUST_CHECK struct secret *sign_unbase64(const char *text, size_t text_bytes,
                                        struct err *err);

/* As application/x-www-form-urlencoded and in queries: all but [A-Za-z0-9-._~] escaped;
 * appended. */
void sign_percent(const void *text, size_t text_bytes, struct buf *out);

/*
 * An OAuth client assertion (RFC 7523): a JWT signed with RS256 by the RSA key in
 * pem_file, which also holds the certificate that the header names (x5t). Appended.
 * audience, subject: "aud"; "iss" and "sub". Valid for ten minutes from now_s (Unix).
 * Errors: FAIL_AUTH the file can be read by others; FAIL_INPUT no key or certificate in
 * it, or they do not belong together; else of reading.
 */
MUST_CHECK bool sign_assertion(const char *pem_file, const char *audience,
                               const char *subject, uint64_t now_s, struct buf *out,
                               struct err *err);

#endif
