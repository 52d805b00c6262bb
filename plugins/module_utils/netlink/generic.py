# Copyright (c) 2026, aicluster.zerotrust contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generic netlink: the families that the kernel offers.

Sources: include/uapi/linux/genetlink.h; ctrl_getfamily() and ctrl_dumpfamily() of net/netlink/genetlink.c.
"""

from __future__ import annotations

import errno
import struct

from ansible_collections.aicluster.zerotrust.plugins.module_utils.netlink.core import (
    NETLINK_GENERIC,
    NetlinkError,
    Socket,
    attribute_map,
    number,
    text,
)

GENL_ID_CTRL = 16
CTRL_CMD_GETFAMILY = 3
CTRL_ATTR_FAMILY_ID = 1
CTRL_ATTR_FAMILY_NAME = 2

_HEADER = struct.Struct("=BBH")


def header(command: int, version: int = 1) -> bytes:
    """The generic netlink header that goes before the attributes."""
    return _HEADER.pack(command, version, 0)


def body(payload: bytes) -> bytes:
    """The attributes of a generic netlink message."""
    return payload[_HEADER.size :]


def families() -> dict[str, int]:
    """Id of each family by its name; raises NetlinkError.

    A dump, not a look-up by name: for a name that the kernel does not know, a look-up loads a module of that name,
    and an observer must not change what is loaded.
    """
    found: dict[str, int] = {}
    with Socket(NETLINK_GENERIC) as netlink:
        for message in netlink.dump(GENL_ID_CTRL, header(CTRL_CMD_GETFAMILY)):
            attributes = attribute_map(body(message.payload))
            if CTRL_ATTR_FAMILY_NAME in attributes and CTRL_ATTR_FAMILY_ID in attributes:
                found[text(attributes[CTRL_ATTR_FAMILY_NAME])] = number(attributes[CTRL_ATTR_FAMILY_ID], 2)
    return found


def family_id(name: str) -> int:
    """Id of one family; raises NetlinkError with ENOENT where the kernel offers none of that name."""
    found = families().get(name)
    if found is None:
        raise NetlinkError(errno.ENOENT, f"the kernel offers no generic netlink family {name!r}")
    return found
