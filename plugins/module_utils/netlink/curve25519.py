# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The public key of a Curve25519 private key, with the standard library only.

The userspace WireGuard protocol gives the device's private key and not its public one; this derives it so that the
private key can be dropped at once. It does not run in constant time: only root on the same host could measure it, and
root can read the key itself.

Source: RFC 7748, section 5.
"""

from __future__ import annotations

_P = 2**255 - 19
_A24 = 121665
_BASE = 9


def public_key(private: bytes) -> bytes:
    """32 bytes of public key for 32 bytes of private key; raises ValueError for another length."""
    if len(private) != 32:
        raise ValueError(f"a Curve25519 key has 32 bytes, not {len(private)}")
    clamped = bytearray(private)
    clamped[0] &= 248
    clamped[31] = (clamped[31] & 127) | 64
    return _multiply(int.from_bytes(clamped, "little"), _BASE).to_bytes(32, "little")


def _multiply(k: int, u: int) -> int:
    """The Montgomery ladder of RFC 7748; the names are the RFC's."""
    x1, x2, z2, x3, z3, swap = u, 1, 0, u, 1, 0
    for bit in range(254, -1, -1):
        k_t = (k >> bit) & 1
        if swap ^ k_t:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = k_t
        a, b, c, d = (x2 + z2) % _P, (x2 - z2) % _P, (x3 + z3) % _P, (x3 - z3) % _P
        aa, bb, da, cb = a * a % _P, b * b % _P, d * a % _P, c * b % _P
        e = (aa - bb) % _P
        x3, z3 = (da + cb) ** 2 % _P, x1 * (da - cb) ** 2 % _P
        x2, z2 = aa * bb % _P, e * (aa + _A24 * e) % _P
    if swap:
        x2, z2 = x3, z3
    return x2 * pow(z2, _P - 2, _P) % _P
