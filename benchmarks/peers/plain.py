"""The loop of the tutorials: a TensorDataset, a DataLoader that shuffles, eager steps of torch's own optimizer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from _torch import decoder, encoder, place, synchronize
from _turns import Turns
from torch.utils.data import DataLoader, TensorDataset


def main() -> None:
    """Trains an epoch at a time, for as long as it is asked to."""
    turns = Turns()
    job = turns.job
    device = place(job)
    torch.manual_seed(job["seed"])
    data = TensorDataset(torch.from_numpy(turns.images()).float().div(255).unsqueeze(1))
    turns.start()
    down, up = encoder(job).to(device), decoder(job).to(device)
    parameters = [*down.parameters(), *up.parameters()]
    turns.require(sum(parameter.numel() for parameter in parameters))
    if job["optimizer"] == "adam":
        optimizer: torch.optim.Optimizer = torch.optim.Adam(parameters, lr=1e-3)
    else:
        optimizer = torch.optim.RMSprop(parameters, lr=1e-3, alpha=0.9)
    loader = DataLoader(data, batch_size=job["batch"], shuffle=True)
    while True:
        total = 0.0
        for (batch,) in loader:
            x = batch.to(device)
            kl = torch.zeros((), device=device)
            z = down(x)
            if job["kind"] == "vae":
                mean, log_variance = z.chunk(2, dim=1)
                z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
                kl = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
            error = F.binary_cross_entropy_with_logits(up(z), x, reduction="sum")
            loss = (error + job["beta"] * kl) / len(x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        synchronize(device)
        turns.done(total / len(data), threads=torch.get_num_threads(), torch=torch.__version__)


if __name__ == "__main__":
    main()
