"""What the pages, the commands and the reports share: plots, the report writer, the page chrome."""
