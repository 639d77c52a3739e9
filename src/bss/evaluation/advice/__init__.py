"""Will the order matter: what the warm-up says of the pairs, before anything is trained by an order."""
