"""The neck of a spatial localizer, which keeps the place of every cell; a mean over space loses it."""

import flax.linen as nn
import jax


class SpatialNeck(nn.Module):
    """A 1x1 convolution to few channels, ReLU, the map flattened, dropout.

    Attributes:
        width: channels of each cell.
        dropout: fraction of the values that training sets to zero.
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
        """Return the vectors [b, h w width] of the last map [b, h, w, d]."""
        x = nn.relu(nn.Dense(self.width, dtype=self.dtype, name="reduce")(features))
        return nn.Dropout(self.dropout, deterministic=not train)(x.reshape(x.shape[0], -1))
