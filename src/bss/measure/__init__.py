"""The outputs of a model for each training pair, and the balance score that follows from them."""
