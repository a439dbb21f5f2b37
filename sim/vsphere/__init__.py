# SPDX-License-Identifier: Apache-2.0
"""A simulated vSphere; see sim/README.md."""
