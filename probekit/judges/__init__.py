"""Judges of emotion in generated text: they see the text alone, never what it was made for."""
