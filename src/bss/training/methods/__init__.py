"""Training methods, one a file: what one step does with the loss and the gradients."""
