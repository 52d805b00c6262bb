# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Curve25519 against RFC 7748 and, for random keys, against an independent implementation (cryptography)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.aicluster.zerotrust.plugins.module_utils.netlink import curve25519


def test_bob_of_rfc_7748() -> None:
    """Section 6.1."""
    private = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    public = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    assert curve25519.public_key(private).hex() == public


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_random_keys(private: bytes) -> None:
    assert (
        curve25519.public_key(private) == X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
    )


def test_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        curve25519.public_key(b"short")
