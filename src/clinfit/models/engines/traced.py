"""What exporters trace of an encoder."""

from torch import Tensor, nn
from transformers import PreTrainedModel


class HeadOutputs(nn.Module):
    """forward(input_ids, attention_mask) -> (rows, outputs) logits."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits
