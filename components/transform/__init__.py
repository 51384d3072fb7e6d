"""Transform: text to token ids, label to class id, and slice features."""
