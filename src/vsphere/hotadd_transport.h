/* SPDX-License-Identifier: Apache-2.0 */
/* The "hotadd" entry of transport_find. */
#ifndef VSPHERE_HOTADD_TRANSPORT_H
#define VSPHERE_HOTADD_TRANSPORT_H

#include "vsphere/transport.h"

const struct transport_ops *hotadd_transport(void);

#endif
