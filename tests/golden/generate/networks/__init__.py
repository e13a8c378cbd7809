"""The networks that ours must equal, by the name of the golden."""

from . import attention, convolutional, face, heads, layouts, text

CASES = convolutional.CASES | face.CASES | attention.CASES | layouts.CASES | text.CASES | heads.CASES
