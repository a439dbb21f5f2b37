/* SPDX-License-Identifier: Apache-2.0 */
/* Thin calls into OpenSSL; what can only fail for want of memory aborts, as xcalloc. */
#include "http/sign.h"

#include "base/file.h"
#include "base/id.h"
#include "http/json.h"

#include <sys/stat.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#define PEM_MAX_BYTES     (256 * KIB)
#define ASSERTION_SECONDS 600
#define SHA1_BYTES        20

void sign_md5(const void *data, size_t data_bytes, uint8_t ret[SIGN_MD5_BYTES])
{
    if (EVP_Digest(data, data_bytes, ret, NULL, EVP_md5(), NULL) != 1)
        abort(); /* this OpenSSL has no MD5 (FIPS): the services cannot be used with it */
}

void sign_hmac_sha256(const struct secret *key, const void *data, size_t data_bytes,
                      uint8_t ret[SIGN_SHA256_BYTES])
{
    if (!HMAC(EVP_sha256(), key->data, (int)key->bytes, data, data_bytes, ret, NULL))
        abort(); /* out of memory, as in xcalloc */
}

void sign_base64(const void *data, size_t data_bytes, struct buf *out)
{
    size_t text_bytes = (data_bytes + 2) / 3 * 4;
    buf_reserve(out, text_bytes + 1);
    (void)EVP_EncodeBlock(out->data + out->bytes, data, (int)data_bytes);
    out->bytes += text_bytes;
}

void sign_base64_url(const void *data, size_t data_bytes, struct buf *out)
{
    size_t start = out->bytes;
    sign_base64(data, data_bytes, out);
    while (out->bytes > start && out->data[out->bytes - 1] == '=')
        out->bytes--;
    out->data[out->bytes] = 0;
    for (size_t i = start; i < out->bytes; i++) {
        if (out->data[i] == '+')
            out->data[i] = '-';
        else if (out->data[i] == '/')
            out->data[i] = '_';
    }
}

struct secret *sign_unbase64(const char *text, size_t text_bytes, struct err *err)
{
    uint8_t raw[SECRET_MAX_BYTES + 4];
    int got = -1;
    if (text_bytes && text_bytes % 4 == 0 && text_bytes / 4 * 3 <= sizeof raw)
        got = EVP_DecodeBlock(raw, (const unsigned char *)text, (int)text_bytes);
    size_t bytes = got < 0 ? 0 : (size_t)got; /* '=' is decoded as zero bytes */
    for (size_t i = text_bytes; bytes && i > 0 && text[i - 1] == '='; i--)
        bytes--;
    struct secret *secret = NULL;
    if (bytes && bytes <= SECRET_MAX_BYTES)
        secret = secret_new(raw, bytes);
    else
        (void)err_set(err, FAIL_INPUT, "not a base64 text");
    secret_wipe(raw, sizeof raw);
    return secret;
}

void sign_percent(const void *text, size_t text_bytes, struct buf *out)
{
    static const char HEX[] = "0123456789ABCDEF";
    const uint8_t *p = text;
    for (size_t i = 0; i < text_bytes; i++) {
        bool is_plain = (p[i] >= 'a' && p[i] <= 'z') || (p[i] >= 'A' && p[i] <= 'Z') ||
                        (p[i] >= '0' && p[i] <= '9') || (p[i] && strchr("-._~", p[i]));
        if (is_plain) {
            buf_put_u8(out, p[i]);
            continue;
        }
        buf_put_u8(out, '%');
        buf_put_u8(out, (uint8_t)HEX[p[i] >> 4]);
        buf_put_u8(out, (uint8_t)HEX[p[i] & 15]);
    }
}

/* ---- client assertion ---- */

struct identity {
    EVP_PKEY *key;
    X509 *certificate;
};

static void auto_identity(struct identity *identity)
{
    EVP_PKEY_free(identity->key);
    X509_free(identity->certificate);
}

static int no_password(char *out, int out_bytes, int is_write, void *ctx)
{
    (void)out, (void)out_bytes, (void)is_write, (void)ctx;
    return -1; /* never asks on a terminal */
}

static bool read_identity(const char *path, struct identity *ret, struct err *err)
{
    AUTO(buf_release) struct buf pem = {0};
    struct stat st;
    if (stat(path, &st) == 0 && (st.st_mode & 077))
        return err_set(err, FAIL_AUTH,
                       "key file '%.150s' can be read by others; run chmod 600 on it",
                       path);
    if (!file_read(path, PEM_MAX_BYTES, &pem, err))
        return err_wrap(err, "client certificate");
    BIO *for_key = BIO_new_mem_buf(pem.data, (int)pem.bytes);
    BIO *for_certificate = BIO_new_mem_buf(pem.data, (int)pem.bytes);
    if (for_key && for_certificate) {
        ret->key = PEM_read_bio_PrivateKey(for_key, NULL, no_password, NULL);
        ret->certificate = PEM_read_bio_X509(for_certificate, NULL, no_password, NULL);
    }
    BIO_free(for_key);
    BIO_free(for_certificate);
    secret_wipe(pem.data, pem.bytes);
    if (!ret->key || !ret->certificate || EVP_PKEY_get_base_id(ret->key) != EVP_PKEY_RSA)
        return err_set(err, FAIL_INPUT,
                       "'%.150s' does not hold an RSA key without password and its "
                       "certificate, both as PEM",
                       path);
    if (X509_check_private_key(ret->certificate, ret->key) != 1)
        return err_set(err, FAIL_INPUT,
                       "key and certificate in '%.150s' do not belong together", path);
    return true;
}

static void add_json(const json_t *json, struct buf *out)
{
    AUTO(buf_release) struct buf text = {0};
    json_print(json, &text);
    sign_base64_url(text.data, text.bytes, out);
}

static void add_header(const struct identity *identity, struct buf *out)
{
    uint8_t sha1[SHA1_BYTES];
    AUTO(buf_release) struct buf x5t = {0};
    AUTO(json_free) json_t *header = json_object();
    if (X509_digest(identity->certificate, EVP_sha1(), sha1, NULL) != 1)
        abort(); /* out of memory, as in xcalloc */
    sign_base64_url(sha1, sizeof sha1, &x5t);
    json_put_text(header, "alg", "RS256");
    json_put_text(header, "typ", "JWT");
    json_put_text(header, "x5t", buf_text(&x5t));
    add_json(header, out);
}

static void add_claims(const char *audience, const char *subject, uint64_t now_s,
                       struct buf *out)
{
    struct id id = id_random();
    char id_hex[ID_TEXT_BYTES];
    AUTO(json_free) json_t *claims = json_object();
    json_put_text(claims, "aud", audience);
    json_put_text(claims, "iss", subject);
    json_put_text(claims, "sub", subject);
    json_put_text(claims, "jti", id_text(&id, id_hex));
    json_put_u64(claims, "nbf", now_s);
    json_put_u64(claims, "exp", now_s + ASSERTION_SECONDS);
    add_json(claims, out);
}

static bool add_signature(const struct identity *identity, size_t start, struct buf *out)
{
    uint8_t signature[1024];
    size_t bytes = sizeof signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok =
        ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, identity->key) == 1 &&
        EVP_DigestSign(ctx, signature, &bytes, out->data + start, out->bytes - start) ==
            1;
    EVP_MD_CTX_free(ctx);
    if (ok) {
        buf_put_u8(out, '.');
        sign_base64_url(signature, bytes, out);
    }
    return ok;
}

bool sign_assertion(const char *pem_file, const char *audience, const char *subject,
                    uint64_t now_s, struct buf *out, struct err *err)
{
    __attribute__((cleanup(auto_identity))) struct identity identity = {0};
    size_t start = out->bytes;
    if (!read_identity(pem_file, &identity, err))
        return false;
    add_header(&identity, out);
    buf_put_u8(out, '.');
    add_claims(audience, subject, now_s, out);
    if (!add_signature(&identity, start, out))
        return err_set(err, FAIL_INPUT,
                       "the key in '%.150s' cannot sign; is it larger "
                       "than 8192 bits?",
                       pem_file);
    return true;
}
