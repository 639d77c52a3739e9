"""Many runs against each other: paired differences, ranks and agreement."""
