"""Reads parquet files of papers into stratified, leak-free splits of tf.Examples."""
