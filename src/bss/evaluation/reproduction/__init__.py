"""Published figures beside those of the same rows run here, by the paper's own protocol and by validation."""
