/* SPDX-License-Identifier: Apache-2.0 */
/* Source of the names: the vendor's list of endpoints of each national cloud. */
#include "azure/cloud.h"

#include "base/text.h"

static const struct azure_cloud CLOUDS[] = {
    {"public", "https://login.microsoftonline.com", "https://management.azure.com",
     "blob.core.windows.net", "https://storage.azure.com", "vault.azure.net",
     "https://vault.azure.net"},
    {"usgov", "https://login.microsoftonline.us", "https://management.usgovcloudapi.net",
     "blob.core.usgovcloudapi.net", "https://storage.azure.com",
     "vault.usgovcloudapi.net", "https://vault.usgovcloudapi.net"},
    {"china", "https://login.chinacloudapi.cn", "https://management.chinacloudapi.cn",
     "blob.core.chinacloudapi.cn", "https://storage.azure.com", "vault.azure.cn",
     "https://vault.azure.cn"},
};

const struct azure_cloud *azure_cloud_get(const char *name, struct err *err)
{
    for (size_t i = 0; i < ARRAY_COUNT(CLOUDS); i++)
        if (strcmp(CLOUDS[i].name, name) == 0)
            return &CLOUDS[i];
    (void)err_set(err, FAIL_INPUT, "cloud '%.40s'; known are public, usgov and china",
                  name);
    return NULL;
}

const struct azure_cloud *azure_cloud_of_host(const char *host)
{
    for (size_t i = 0; i < ARRAY_COUNT(CLOUDS); i++)
        if (text_ends_with(host, CLOUDS[i].blob_suffix) ||
            text_ends_with(host, CLOUDS[i].vault_suffix))
            return &CLOUDS[i];
    return &CLOUDS[0];
}
