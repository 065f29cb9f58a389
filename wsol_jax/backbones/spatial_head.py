"""The neck of a spatial localizer: it keeps the place of every cell, which a mean over space loses."""

import flax.linen as nn
import jax


class SpatialNeck(nn.Module):
    """A 1x1 convolution to few channels, ReLU, the map flattened, dropout.

    Attributes:
        width: channels of each cell.
        dropout: share of the values that training sets to zero.
        dtype: what it computes in; parameters are float32.
    """

    width: int = 64
    dropout: float = 0.5
    dtype: str = "float32"

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of its layers, none of which published weights have."""
        return ("reduce",)

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> jax.Array:
        """The last map [b, h, w, d] to [b, h w width]."""
        x = nn.relu(nn.Dense(self.width, dtype=self.dtype, name="reduce")(features))
        return nn.Dropout(self.dropout, deterministic=not train)(x.reshape(len(x), -1))
