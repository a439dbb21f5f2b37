/* SPDX-License-Identifier: Apache-2.0 */
/* Whether bytes are all zero, at memory speed; stops early on the first that is not.
 * Pure. */
#ifndef BLOCK_ZERO_H
#define BLOCK_ZERO_H

#include "base/defs.h"

bool block_is_zero(const uint8_t *data, size_t data_bytes);

#endif
