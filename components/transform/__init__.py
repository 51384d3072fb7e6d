"""Transform: cleaned text to token ids, label to class id, and the features to slice by."""
