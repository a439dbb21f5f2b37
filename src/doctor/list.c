/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An endpoint is the same as another when role, label's kind and URL are: two targets in
 * one subscription ask ARM once. A credential file that cannot be read adds nothing here:
 * the visit of its store says what is wrong with it.
 */
#include "doctor/list.h"

#include "azure/access.h"
#include "base/text.h"

#define BLOB_SCHEME "blob:"
#define URL_BYTES   1200

static const char *keep_text(struct doctor_list *list, const char *text)
{
    if (!text)
        return NULL;
    list->texts = xrealloc(list->texts, list->text_count + 1, sizeof *list->texts);
    return list->texts[list->text_count++] = xstrdup(text);
}

static const uint8_t *keep_pin(struct doctor_list *list, const uint8_t *pin)
{
    if (!pin)
        return NULL;
    list->pins = xrealloc(list->pins, list->pin_count + 1, sizeof *list->pins);
    uint8_t *copy = xcalloc(1, HTTP_PIN_BYTES);
    memcpy(copy, pin, HTTP_PIN_BYTES);
    return list->pins[list->pin_count++] = copy;
}

void doctor_list_release(struct doctor_list *list)
{
    for (size_t i = 0; i < list->text_count; i++)
        free(list->texts[i]);
    for (size_t i = 0; i < list->pin_count; i++)
        free(list->pins[i]);
    free(list->texts);
    free(list->pins);
    *list = (struct doctor_list){0};
}

/* NULL: it is there already, or there is no room. */
static struct doctor_target *add(struct doctor_list *list, enum path_role role,
                                 enum doctor_kind kind, const char *label,
                                 const char *url)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].role == role && list->items[i].kind == kind &&
            strcmp(list->items[i].url, url) == 0)
            return NULL;
    if (list->count == DOCTOR_MAX_TARGETS)
        return NULL;
    struct doctor_target *target = &list->items[list->count++];
    *target = (struct doctor_target){.role = role, .kind = kind};
    target->label = keep_text(list, label);
    target->url = keep_text(list, url);
    return target;
}

static bool is_of_entra(enum azure_access_kind kind)
{
    return kind == AZURE_CLIENT_SECRET || kind == AZURE_CLIENT_CERTIFICATE ||
           kind == AZURE_WORKLOAD_IDENTITY;
}

/* "https://host/path" -> "https://host" */
static void take_origin(const char *url, char out[URL_BYTES])
{
    const char *at = strstr(url, "://");
    at = at ? at + 3 : url;
    (void)snprintf(out, URL_BYTES, "%.*s", (int)((size_t)(at - url) + strcspn(at, "/")),
                   url);
}

static void add_issuer(struct doctor_list *list, const struct azure_access *access,
                       const struct azure_cloud *cloud, const char *credential_file)
{
    char origin[URL_BYTES];
    if (!is_of_entra(access->kind))
        return;
    take_origin(access->authority ? access->authority : cloud->authority, origin);
    struct doctor_target *target =
        add(list, ROLE_ENTRA, DOCTOR_ENTRA, "token issuer", origin);
    if (target)
        target->credential_file = keep_text(list, credential_file);
}

/* With the issuer that its credential asks; url: of the service itself. */
static void add_credential(struct doctor_list *list, struct doctor_target *target,
                           const char *url, const char *credential_file)
{
    struct azure_access access = {0};
    struct err ignored = ERR_INIT;
    char origin[URL_BYTES];
    if (!target || !credential_file || !*credential_file)
        return;
    target->credential_file = keep_text(list, credential_file);
    if (!azure_access_read(credential_file, &access, &ignored))
        return;
    take_origin(url, origin);
    add_issuer(list, &access, access.cloud ? access.cloud : azure_cloud_of_host(origin),
               credential_file);
    azure_access_release(&access);
}

void doctor_list_add_store(struct doctor_list *list, enum path_role role,
                           const char *label, const char *address,
                           const char *credential_file)
{
    if (!text_starts_with(address, BLOB_SCHEME))
        return;
    const char *url = address + strlen(BLOB_SCHEME);
    add_credential(list, add(list, role, DOCTOR_BLOBS, label, url), url, credential_file);
}

void doctor_list_add_keys(struct doctor_list *list, const char *url,
                          const char *credential_file)
{
    char origin[URL_BYTES];
    take_origin(url, origin);
    add_credential(list, add(list, ROLE_KEY_VAULT, DOCTOR_HTTPS, "keys", origin), origin,
                   credential_file);
}

void doctor_list_add_https(struct doctor_list *list, enum path_role role,
                           const char *label, const char *url, const char *ca_file,
                           const uint8_t *pin)
{
    char origin[URL_BYTES];
    take_origin(url, origin);
    struct doctor_target *target = add(list, role, DOCTOR_HTTPS, label, origin);
    if (!target)
        return;
    target->ca_file = keep_text(list, ca_file);
    target->pin = keep_pin(list, pin);
}

void doctor_list_add_port(struct doctor_list *list, enum path_role role,
                          const char *label, const char *host, uint16_t port)
{
    char url[URL_BYTES];
    (void)snprintf(url, sizeof url, strchr(host, ':') ? "http://[%s]:%u" : "http://%s:%u",
                   host, port);
    (void)add(list, role, DOCTOR_PORT, label, url);
}

static void name_arm(struct doctor_list *list, struct doctor_target *target,
                     const struct doctor_arm *arm)
{
    target->arm_credential_file = keep_text(list, arm->credential_file);
    target->arm_endpoint = keep_text(list, arm->endpoint);
    target->subscription = keep_text(list, arm->subscription);
    target->resource_group = keep_text(list, arm->resource_group);
}

void doctor_list_add_arm(struct doctor_list *list, const struct doctor_arm *arm)
{
    struct azure_access access = {0};
    struct err ignored = ERR_INIT;
    char origin[URL_BYTES];
    if (!azure_access_read(arm->credential_file, &access, &ignored))
        return;
    const struct azure_cloud *cloud =
        access.cloud ? access.cloud : azure_cloud_of_host("");
    take_origin(arm->endpoint ? arm->endpoint : cloud->resource_manager, origin);
    struct doctor_target *target = add(list, ROLE_ARM, DOCTOR_ARM, arm->label, origin);
    if (target) {
        target->credential_file = keep_text(list, arm->credential_file);
        name_arm(list, target, arm);
    }
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].kind == DOCTOR_BLOBS && !list->items[i].subscription)
            name_arm(list, &list->items[i], arm);
    add_issuer(list, &access, cloud, arm->credential_file);
    azure_access_release(&access);
}

void doctor_list_keep(struct doctor_list *list, enum path_role role)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].role == role)
            list->items[kept++] = list->items[i];
    list->count = kept;
}
