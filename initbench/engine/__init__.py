"""What does happen: stacks of networks that share their draws, propagated and measured."""
