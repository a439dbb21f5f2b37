/* SPDX-License-Identifier: Apache-2.0 */
/* The "https" entry of transport_find. */
#ifndef VSPHERE_HTTPS_TRANSPORT_H
#define VSPHERE_HTTPS_TRANSPORT_H

#include "vsphere/transport.h"

const struct transport_ops *https_transport(void);

#endif
