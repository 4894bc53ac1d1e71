"""Muon for the matrices of a small network, AdamW for the rest."""

from typing import Any


def orthogonalize(gradient: Any) -> Any:
    """Newton-Schulz iteration towards the nearest orthogonal matrix, in float32.

    Coefficients of Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon).
    torch.optim.Muon does the same in bfloat16, which is some 70 times slower on
    processors without it.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = gradient / (gradient.norm() + 1e-7)
    transposed = x.size(0) > x.size(1)
    x = x.T if transposed else x
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if transposed else x


def muon_step(matrices: list[Any], momenta: list[Any], rate: float, momentum: float = 0.95) -> None:
    """One Muon update with Nesterov momentum; rate is scaled by the matrix's shape."""
    for matrix, velocity in zip(matrices, momenta, strict=True):
        velocity.mul_(momentum).add_(matrix.grad)
        update = orthogonalize(matrix.grad + momentum * velocity)
        matrix.data.add_(update, alpha=-rate * max(1.0, matrix.size(0) / matrix.size(1)) ** 0.5)


class Optimizer:
    """Muon for the matrices of the layers, AdamW for embeddings and norms."""

    def __init__(self, network: Any, muon_rate: float, adam_rate: float):
        import torch

        self.muon_rate, self.adam_rate = muon_rate, adam_rate
        self.matrices = [p for p in network.model.layers.parameters() if p.ndim == 2]
        chosen = {id(p) for p in self.matrices}
        others = [p for p in network.parameters() if id(p) not in chosen]
        self.momenta = [torch.zeros_like(p) for p in self.matrices]
        self.others = others
        self.adam = torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0)

    def step(self, factor: float) -> None:
        """One update at `factor` times the learning rates."""
        muon_step(self.matrices, self.momenta, self.muon_rate * factor)
        for group in self.adam.param_groups:
            group["lr"] = self.adam_rate * factor
        self.adam.step()

    def state(self) -> dict[str, Any]:
        """What the next step depends on, by name: tensors."""
        found = {f"momentum.{i}": velocity for i, velocity in enumerate(self.momenta)}
        for i, weight in enumerate(self.others):
            found |= {f"adam.{i}.{name}": of for name, of in self.adam.state[weight].items()}
        return found

    def restore(self, tensors: dict[str, Any]) -> None:
        """Undo `state`; other tensors may be among them."""
        for i, velocity in enumerate(self.momenta):
            velocity.copy_(tensors[f"momentum.{i}"])
        for i, weight in enumerate(self.others):
            start = f"adam.{i}."
            own = {n.removeprefix(start): of for n, of in tensors.items() if n.startswith(start)}
            self.adam.state[weight] = own
