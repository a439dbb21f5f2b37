# SPDX-License-Identifier: Apache-2.0
"""A simulated Azure Resource Manager; see sim/README.md."""
