"""`robodf demo`: a small set of recordings, and the main job over them or over the user's own."""
