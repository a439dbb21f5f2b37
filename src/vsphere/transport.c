/* SPDX-License-Identifier: Apache-2.0 */
/* The table of transports; each stands in its own file. */
#include "vsphere/transport.h"

#include "vsphere/hotadd_transport.h"
#include "vsphere/https_transport.h"
#include "vsphere/nfc_transport.h"
#include "vsphere/vddk_transport.h"

#include <string.h>

const struct transport_ops *transport_find(const char *name)
{
    const struct transport_ops *const all[] = {nfc_transport(), https_transport(),
                                               hotadd_transport(), vddk_transport()};
    for (size_t i = 0; i < ARRAY_COUNT(all); i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    return NULL;
}
