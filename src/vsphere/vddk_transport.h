/* SPDX-License-Identifier: Apache-2.0 */
/* The "vddk" entry of transport_find. */
#ifndef VSPHERE_VDDK_TRANSPORT_H
#define VSPHERE_VDDK_TRANSPORT_H

#include "vsphere/transport.h"

const struct transport_ops *vddk_transport(void);

#endif
