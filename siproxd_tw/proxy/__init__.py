# SPDX-License-Identifier: MIT
"""RFC 3261 section 16, and what masquerading adds to it."""
