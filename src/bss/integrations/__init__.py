"""The curriculum inside of other trainers: one callback a library, each behind an extra of bss."""
