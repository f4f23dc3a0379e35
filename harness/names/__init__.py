"""Names as people and file systems see them: URLs without their secrets, files that are not whole yet."""
