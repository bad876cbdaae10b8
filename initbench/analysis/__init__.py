"""What results mean: frames in, frames and figures out. Never imports torch, whatever is installed."""
