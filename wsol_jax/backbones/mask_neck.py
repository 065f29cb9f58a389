"""The neck of a localizer that classifies cells: each cell of the last map by itself, so that no place is learned."""

import flax.linen as nn
import jax


class MaskNeck(nn.Module):
    """Dropout of whole channels, a 1x1 convolution to few channels, ReLU.

    A network on single cells has few parameters and thousands of examples in a photo, so that it averages the errors
    of pseudo boxes instead of learning them (compare FOUND, Simeoni et al. 2023, whose head is one 1x1 convolution).

    Attributes:
        width: channels of each cell.
        dropout: fraction of the channels that training sets to zero in all cells of a photo.
        dtype: of the computation; parameters are float32.
    """

    width: int = 64
    dropout: float = 0.5
    dtype: str = "float32"

    @property
    def layers(self) -> tuple[str, ...]:
        """Return the names of its layers; published weights have none of them."""
        return ("reduce",)

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> jax.Array:
        """Return the map [b, h, w, width] of the last map [b, h, w, d]."""
        x = nn.Dropout(self.dropout, broadcast_dims=(1, 2), deterministic=not train)(features)
        return nn.relu(nn.Dense(self.width, dtype=self.dtype, name="reduce")(x))
