/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A SAS and the way to its successor.
 *
 * N1  one thread asks for another; the others go on with the old one while it lasts, and
 *     wait when it has ended or was refused;
 * N2  whoever waited looks first whether there is another one by now;
 * N3  a failed asking is not repeated at once by all who would like to: its error is
 * theirs too for a while; N4  one that has ended by our clock and cannot be renewed is
 * sent all the same: the clock may be wrong, and the service says so best.
 */
#include "azure/sas_signer.h"

#include "azure/cloud.h"
#include "azure/signer.h"
#include "base/clock.h"

#define RENEW_AHEAD_S 300
#define ASK_AGAIN_MS  10000

struct sas_signer {
    struct azure_signer base;
    /* Set by azure_sas_signer_open, never changed. */
    struct azure_sas_options options;
    char *what;
    pthread_mutex_t asking; /* before lock */
    /* Guarded by asking. */
    bool has_failed;
    uint64_t failed_at_ms;
    struct err why;
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct secret *sas;
    unsigned mark;  /* counts them */
    uint64_t end_s; /* 0: it does not say */
};

static struct sas_signer *signer_of(struct azure_signer *base)
{
    return (struct sas_signer *)base;
}

static bool check_sas(const struct sas_signer *signer, const struct secret *sas,
                      struct err *err)
{
    for (size_t i = 0; i < sas->bytes; i++)
        if (sas->data[i] <= ' ' || sas->data[i] >= 0x7f || sas->data[i] == '#')
            return err_set(err, FAIL_INPUT, "%s holds a character that is none of a SAS",
                           signer->what);
    return memmem(sas->data, sas->bytes, "sig=", 4) ||
           err_set(err, FAIL_INPUT, "%s has no sig=", signer->what);
}

static uint64_t end_of(const struct secret *sas)
{
    char text[SECRET_MAX_BYTES + 1];
    uint64_t end_s = 0;
    memcpy(text, sas->data, sas->bytes);
    text[sas->bytes] = 0;
    if (!azure_sas_end(text, &end_s))
        end_s = 0;
    secret_wipe(text, sizeof text);
    return end_s;
}

static void take_sas(struct sas_signer *signer, struct secret *sas)
{
    uint64_t end_s = end_of(sas);
    LOCK_GUARD(&signer->lock);
    secret_free(signer->sas);
    signer->sas = sas;
    signer->end_s = end_s;
    signer->mark++;
}

static unsigned mark_now(struct sas_signer *signer)
{
    LOCK_GUARD(&signer->lock);
    return signer->mark;
}

/* Whether it ends within ahead_s. */
static bool ends_within(struct sas_signer *signer, uint64_t ahead_s)
{
    LOCK_GUARD(&signer->lock);
    return signer->end_s && clock_wall_ms() / 1000 + ahead_s >= signer->end_s;
}

/* ---- another one ---- */

static bool ask(struct sas_signer *signer, struct err *err)
{
    if (signer->has_failed && clock_mono_ms() - signer->failed_at_ms < ASK_AGAIN_MS) {
        *err = signer->why; /* N3 */
        return false;
    }
    err_clear(&signer->why);
    AUTO(secret_free)
    struct secret *sas = signer->options.renew(signer->options.ctx, &signer->why);
    if (sas && check_sas(signer, sas, &signer->why)) {
        signer->has_failed = false;
        take_sas(signer, TAKE(sas));
        return true;
    }
    signer->has_failed = true;
    signer->failed_at_ms = clock_mono_ms();
    (void)err_wrap(&signer->why, "renew %s", signer->what);
    *err = signer->why;
    return false;
}

/* Asks unless there is another one than that of the mark by now. */
static bool replace(struct sas_signer *signer, unsigned mark, struct err *err)
{
    LOCK_GUARD(&signer->asking);
    return mark_now(signer) != mark || ask(signer, err); /* N2 */
}

/* The old one is good for a while: only one thread asks, and its failure is no error yet.
 */
static void replace_ahead(struct sas_signer *signer)
{
    struct err ignored = ERR_INIT;
    if (pthread_mutex_trylock(&signer->asking) != 0)
        return; /* N1 */
    if (ends_within(signer, RENEW_AHEAD_S))
        (void)ask(signer, &ignored);
    (void)pthread_mutex_unlock(&signer->asking); /* we hold it */
}

/* ---- the signer ---- */

static bool sign(struct azure_signer *base, struct azure_request *attempt,
                 struct buf *query, struct err *err)
{
    struct sas_signer *signer = signer_of(base);
    char date[AZURE_DATE_BYTES];
    unsigned mark = mark_now(signer);
    if (signer->options.renew && ends_within(signer, 0)) {
        if (!replace(signer, mark, err))
            return false;
    } else if (signer->options.renew && ends_within(signer, RENEW_AHEAD_S)) {
        replace_ahead(signer);
    }
    azure_add_header(attempt, "x-ms-version", "%s", AZURE_VERSION_BLOB);
    azure_add_header(attempt, "x-ms-date", "%s",
                     azure_date_text(clock_wall_ms() / 1000, date));
    buf_reserve(query, SECRET_MAX_BYTES);
    LOCK_GUARD(&signer->lock);
    attempt->secret_mark = signer->mark;
    buf_append(query, signer->sas->data, signer->sas->bytes);
    return true;
}

static bool renew(struct azure_signer *base, unsigned secret_mark)
{
    struct sas_signer *signer = signer_of(base);
    struct err ignored = ERR_INIT; /* the refusal is told */
    return signer->options.renew && replace(signer, secret_mark, &ignored);
}

static void forget(struct azure_signer *base, struct azure_request *attempt)
{
    (void)base, (void)attempt; /* nothing was lent */
}

struct azure_signer *azure_sas_signer_open(const struct secret *sas,
                                           const struct azure_sas_options *options,
                                           struct err *err)
{
    struct sas_signer *signer = xcalloc(1, sizeof *signer);
    *signer =
        (struct sas_signer){.base = {.sign = sign, .renew = renew, .forget = forget},
                            .options = *options,
                            .what = xstrdup(options->what)};
    (void)pthread_mutex_init(&signer->asking, NULL); /* default attributes cannot fail */
    (void)pthread_mutex_init(&signer->lock, NULL);
    if (check_sas(signer, sas, err)) {
        take_sas(signer, secret_new(sas->data, sas->bytes));
        return &signer->base;
    }
    azure_sas_signer_close(&signer->base);
    return NULL;
}

void azure_sas_signer_close(struct azure_signer *base)
{
    if (!base)
        return;
    struct sas_signer *signer = signer_of(base);
    secret_free(signer->sas);
    (void)pthread_mutex_destroy(&signer->lock); /* nobody holds them: we are the last */
    (void)pthread_mutex_destroy(&signer->asking);
    free(signer->what);
    free(signer);
}
