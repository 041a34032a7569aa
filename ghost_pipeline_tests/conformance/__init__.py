"""Language-neutral cases and the adapter that puts them to the pipeline.

Here belong cases as JSON, the files of their sources, the runs they ask for and the comparison of answers. No answer is
computed here: it comes from `GhostReader` or, for hours and tables that are not published, from the lake.
"""
