"""Optical flow."""

from typing import ClassVar

from bss.data.kinds._maps import Maps


class Flow(Maps):
    """Maps of the horizontal and the vertical movement, in pixels."""

    encoder: ClassVar[str] = "small_cnn"
    num_channels: ClassVar[int] = 2
