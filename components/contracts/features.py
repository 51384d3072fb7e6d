"""Names shared by all nodes: raw columns, splits, transformed features, vocabularies.

The classes and their order are defined by the label's string domain in ``schema/schema.pbtxt``.
"""

# Columns of the arXiv metadata dump: the defaults of `components.contracts.columns`.
ABSTRACT = "abstract"
LABEL = "final_category"
ID = "id"
DATE = "update_date"
# Finer than the label (such as "math.AG" in math); a second training target if present.
CATEGORY = "primary_category"

# Splits, in the order of their shares.
TRAIN = "train"
EVAL = "eval"
TEST = "test"
SPLITS = (TRAIN, EVAL, TEST)

# Transformed features.
TOKENS = "tokens"
LABEL_ID = "label_id"
CATEGORY_ID = "category_id"
LENGTH_BUCKET = "length_bucket"
YEAR = "year"
LATEX_BUCKET = "latex_bucket"
SLICE_FEATURES = (LENGTH_BUCKET, YEAR, LATEX_BUCKET)

# Vocabulary assets of the transform graph, and the ids below those of words.
VOCABULARY = "vocabulary"
CATEGORIES = "categories"
PAD_ID = 0
OOV_ID = 1
FIRST_WORD_ID = 2

# Serving signatures and their outputs.
SERVING_TEXT = "serving_default"
SERVING_EXAMPLES = "serving_examples"
TRANSFORM_FEATURES = "transform_features"
EXAMPLES_INPUT = "examples"
LABEL_OUTPUT = "label"
SCORES_OUTPUT = "scores"
CLASSES_OUTPUT = "classes"
