"""Videos: uploads, transcripts, chunks, search."""
