/* SPDX-License-Identifier: Apache-2.0 */
/* The "nfc" entry of transport_find. */
#ifndef VSPHERE_NFC_TRANSPORT_H
#define VSPHERE_NFC_TRANSPORT_H

#include "vsphere/transport.h"

const struct transport_ops *nfc_transport(void);

#endif
