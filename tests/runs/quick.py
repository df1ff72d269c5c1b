"""A runner that measures nothing and is quick about it, and a grid of it as a program that can be killed."""

import os
import sys
import time

import ikexplore as ikx

AXES = {"rtr": [False, True], "ub": [32, 64, 128], "ot": [None, "ffn=CPU"]}
REPETITIONS = 4


def runner(model, settings, progress=False, on_row=None, on_progress=None, stop=None):
    """A sweep of two rows in 30 ms; the rates tell the settings."""
    result = ikx.runs.Record(settings, model=model.name, ok=True)
    for n_kv in (0, settings.n_ubatch):
        time.sleep(0.015)
        if stop is not None and stop.is_set():
            result.stopped = True
            break
        rates = {"s_pp": 10.0 * settings.n_ubatch / (1 + n_kv), "s_tg": 5.0 + 2 * settings.rtr}
        times = {"t_pp": 32 / rates["s_pp"], "t_tg": 8 / rates["s_tg"]}
        row = {"pp": 32, "tg": 8, "n_kv": n_kv, **times, **rates, "repetitions": 1}
        result.rows.append(row)
        if on_row:
            on_row(row)
    return result


def slow(model, settings, **more):
    """The same, long enough to be killed in; says that it began."""
    if path := os.environ.get("QUICK_STARTS"):
        with open(path, "a") as file:
            file.write(f"{os.getpid()}\n")
    time.sleep(0.4)
    return runner(model, settings)


def who(dask_worker):
    """Name and process of a worker; Dask fills the argument."""
    return dask_worker.name, os.getpid()


def failing(model, settings, **more):
    raise ikx.ModelError("no such kernel")


def bug(model, settings, **more):
    return 1 // 0


def types(model, settings, **more):
    """Tells whether the model has a tensor of type q8_0."""
    result = runner(model, settings)
    result.rows[0]["n_types"] = sum(t.type == "q8_0" for t in model.tensors.values())
    return result


def main(model_path: str, journal: str) -> int:
    """The grid of the kill test."""
    found = ikx.grid(ikx.open(model_path), AXES, ikx.Machine.described(cuda_build=False), journal, runner=runner,
                     repetitions=REPETITIONS, progress=False)  # fmt: skip
    return 0 if len(found.done) == 12 * REPETITIONS else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
