"""Frames of cameras, video files and streams, and the digits that are announced from them."""
