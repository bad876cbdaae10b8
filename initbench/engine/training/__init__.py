"""Training of M networks of one shape at once, on shared minibatches, each with its own initializer and settings."""
