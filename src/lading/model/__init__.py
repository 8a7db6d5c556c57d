"""The nouns: frozen, slotted values that every other package passes around.

Imports the standard library and ``packaging`` only, does no input or output. One module per noun;
import from the module (``from lading.model.plan import Plan``), so that nothing is loaded unasked.
"""
