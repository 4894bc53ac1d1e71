"""From one adapter in memory to another, without a walk through the whole network."""

from typing import Any

KEPT = "_adapted_modules"  # of a PEFT model: (names of its adapters, the modules that have them)


def activate(model: Any, name: str) -> None:
    """What `model.set_adapter(name)` of PEFT does, in less time: it asks every module, twice.

    The modules that adapters changed are remembered on the model until it has others. Raises
    ValueError for an adapter that is not there, RuntimeError while one is merged.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    if name not in model.peft_config:
        raise ValueError(f"no adapter {name!r}: this model has {', '.join(model.peft_config)}")
    for module in adapted(model):
        if not isinstance(module, BaseTunerLayer):  # a score head, kept whole for each adapter
            module.set_adapter(name if name in module._adapters else [])
        elif module.merged:
            raise RuntimeError(f"adapter {name!r}: another one is merged into the weights")
        else:
            module.set_adapter(name)
    model.active_adapter = model.base_model.active_adapter = name


def adapted(model: Any) -> list[Any]:
    """The modules of a PEFT model that differ between its adapters."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import AuxiliaryTrainingWrapper

    names = tuple(model.peft_config)
    known: tuple[tuple[str, ...], list[Any]] = vars(model).get(KEPT, ((), []))
    if known[0] != names:
        kinds = BaseTunerLayer, AuxiliaryTrainingWrapper
        known = names, [module for module in model.modules() if isinstance(module, kinds)]
        vars(model)[KEPT] = known
    return known[1]
