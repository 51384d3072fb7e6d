"""What nodes pass to each other: typed records, names of files and features. No TFX here."""
