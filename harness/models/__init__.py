"""Models in: SavedModel, Keras, TFLite, factories, objects of Python."""
