"""The entry points that the TFX CLI registers."""
