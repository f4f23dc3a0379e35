"""Finished runs as one page that people look at: sections, drawings, templates. Reads the files of runs alone."""
