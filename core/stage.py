"""A training stage as data: which parameters learn, which modules are in train mode, with what optimiser."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ExponentialLR, LRScheduler, MultiStepLR


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate.

    Attributes:
        parameters: Patterns of parameter names ("*" matches anything, dots too).
        lr: Learning rate; None takes the stage's.
        factor: What the stage's learning rate is multiplied by, where `lr` is None.
        but: Patterns of names that are left out.
    """

    parameters: tuple[str, ...]
    lr: float | None = None
    factor: float = 1.0
    but: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """What one stage of training does to a model.

    Attributes:
        name: How messages call it.
        groups: What learns; every other parameter is frozen.
        train_modules: Modules in train mode, their children included; every other module is in eval mode, so
            its batch norm keeps its statistics and its dropout passes everything.
        optimizer: Which optimiser.
        lr: Learning rate of the groups that name none.
        weight_decay: L2 penalty, as the optimiser understands it.
        milestones: Epochs after which the learning rates are multiplied by `gamma`; None means every epoch.
        falls: The same as shares of the length, in (0, 1), for stages that are trained at any length; they
            make the milestones when the stage is given its length (`override`).
        gamma: The factor.
        epochs: Length of the stage.
        eps: Adam's epsilon.
        momentum: SGD's momentum.
    """

    name: str
    groups: tuple[Group, ...]
    train_modules: tuple[str, ...]
    optimizer: Literal["adam", "adamw", "sgd"]
    lr: float
    weight_decay: float
    milestones: tuple[int, ...] | None
    gamma: float
    epochs: int
    eps: float = 1e-8
    momentum: float = 0.9
    falls: tuple[float, ...] = ()

    def override(
        self,
        *,
        lr: float | None = None,
        epochs: int | None = None,
        milestones: tuple[int, ...] | None = None,
        weight_decay: float | None = None,
    ) -> "Stage":
        """Return the stage with the values that are not None in place of its own."""
        lr = self.lr if lr is None else lr
        weight_decay = self.weight_decay if weight_decay is None else weight_decay
        epochs = self.epochs if epochs is None else epochs
        if milestones is None:
            milestones = self.milestones
            if self.falls:
                found = {round(share * epochs) for share in self.falls}
                milestones = tuple(sorted(found & set(range(1, epochs))))
        return replace(self, lr=lr, epochs=epochs, milestones=milestones, weight_decay=weight_decay)

    def below(self, prefix: str) -> "Stage":
        """Return the same stage for a model that holds this one's under a name, such as "network."."""

        def moved(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(f"{prefix}{name}".rstrip(".") for name in names)

        groups = tuple(replace(g, parameters=moved(g.parameters), but=moved(g.but)) for g in self.groups)
        return replace(self, groups=groups, train_modules=moved(self.train_modules))

    def freeze(self, model: nn.Module) -> None:
        """Let exactly the stage's parameters take gradients.

        Raises:
            AssertionError: A pattern matches no parameter, or a parameter is in two groups.
        """
        chosen = [name for group in self.groups for name, _ in _matching(model, group)]
        assert len(chosen) == len(set(chosen)), f"stage {self.name}: a parameter stands in two groups"
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in set(chosen))

    def set_modes(self, model: nn.Module) -> None:
        """Put the stage's modules in train mode and all others in eval mode."""
        model.eval()
        for name in self.train_modules:
            model.get_submodule(name).train()

    def leaves(self, model: nn.Module, modules: Iterable[nn.Module]) -> bool:
        """Whether the stage neither trains any of these modules of `model` nor puts one in train mode."""
        learned = {id(p) for group in self.groups for _, p in _matching(model, group)}
        in_train_mode = {
            id(part) for name in self.train_modules for part in model.get_submodule(name).modules()
        }
        return all(
            id(part) not in in_train_mode and not learned.intersection(map(id, part.parameters()))
            for module in modules
            for part in module.modules()
        )

    def build_optimizer(self, model: nn.Module) -> Optimizer:
        """Make the optimiser over the stage's groups."""
        groups = [
            {
                "params": [parameter for _, parameter in _matching(model, group)],
                "lr": self.lr * group.factor if group.lr is None else group.lr,
            }
            for group in self.groups
        ]
        # One pass over each parameter instead of one an operation, which on a CPU is what a step costs.
        shared: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay, "fused": True}
        if self.optimizer == "adam":
            return torch.optim.Adam(groups, eps=self.eps, **shared)
        if self.optimizer == "adamw":
            return torch.optim.AdamW(groups, eps=self.eps, **shared)
        return torch.optim.SGD(groups, momentum=self.momentum, **shared)

    def build_scheduler(self, optimizer: Optimizer) -> LRScheduler:
        """Make the schedule; it is stepped once after every epoch."""
        if self.milestones is None:
            return ExponentialLR(optimizer, gamma=self.gamma)
        return MultiStepLR(optimizer, milestones=list(self.milestones), gamma=self.gamma)


def _matching(model: nn.Module, group: Group) -> list[tuple[str, nn.Parameter]]:
    found = []
    for pattern in group.parameters:
        matches = [item for item in model.named_parameters() if fnmatchcase(item[0], pattern)]
        assert matches, f"no parameter of {type(model).__name__} is called {pattern}"
        found += [item for item in matches if not any(fnmatchcase(item[0], but) for but in group.but)]
    return found
