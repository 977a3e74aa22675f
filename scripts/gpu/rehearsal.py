"""Changes a plan so that a CPU runs it in seconds: the same steps and rows, with the 15M model and tiny cells."""

MODEL = "llama2-15m"
# Engines that compile for minutes where Python has torch: left out unless --slow asks for them.
SLOW_ENGINES = dict.fromkeys(("pytorch-aoti", "hf-compile"), "it compiles for minutes; --slow rehearses it, too")
# Keys of a sweep that only a GPU has.
GPU_KEYS = ("device_memory_limit",)
# What flags become.
FLAG_VALUES = {"--sustained": "0.1", "--cool-down": "0", "--timeout-seconds": "900"}
PROCEDURE = {"warmup_runs": 0, "prompt_runs": 2, "min_runs": 2, "generations": 1}
# The 15M model has 6 heads: two ranks can share it, four can't.
WORLD_SIZE = 2
# Time limits are not rehearsed: a busy CPU, or one that compiles for pytorch-aoti, may take longer than a GPU.
TIMEOUT_SECONDS, STEP_LIMIT, PLAN_LIMIT = 900, 1800, 7200
# Where tests run beside each other, two threads that wait for each other take many times as long as one.
THREADS = ["--threads", "1"]
GENERATION_LENGTH = 2
PROMPT_UNIT = 8


def rehearse(plan):
    """Changes the plan in place."""
    plan.limit = PLAN_LIMIT
    for step in plan.steps:
        step.model = MODEL if step.model else None
        step.precision = ",".join(map(on_a_cpu, step.precision.split(","))) if step.precision else None
        step.flags = [FLAG_VALUES.get(before, word) for before, word in zip([None, *step.flags], step.flags, strict=False)]
        if step.kind in ("verify", "peaks"):
            step.flags += THREADS
        # Memory limits are not rehearsed: every cell fits.
        step.out_of_memory = None
        step.least, step.limit = 0, STEP_LIMIT
        if step.sweep is not None:
            shrink(step.sweep)


def shrink(sweep):
    precision = sweep.get("precision", "fp32")
    precision = on_a_cpu(precision) if isinstance(precision, str) else list(map(on_a_cpu, precision))
    sweep |= {"models": [MODEL], "device": "cpu", "precision": precision, "generation_length": GENERATION_LENGTH}
    sweep |= {"timeout_seconds": TIMEOUT_SECONDS, "threads": 1}
    for key in GPU_KEYS:
        sweep.pop(key, None)
    if "world_size" in sweep:
        sweep["world_size"] = WORLD_SIZE
    procedure = sweep.get("procedure", {})
    sweep["procedure"] = {key: value for key, value in {**procedure, **PROCEDURE}.items() if key in procedure or key == "prompt_runs"}
    if "rows" in sweep:
        batch_sizes, prompt_lengths = ({row[column] for row in sweep["rows"]} for column in (1, 2))
        batch_size, prompt_length = ranks(batch_sizes, 1), ranks(prompt_lengths, PROMPT_UNIT)
        sweep["rows"] = [[row[0], batch_size[row[1]], prompt_length[row[2]]] for row in sweep["rows"]]
    else:
        sweep["batch_sizes"] = list(ranks(sweep["batch_sizes"], 1).values())
        sweep["prompt_lengths"] = list(ranks(sweep["prompt_lengths"], PROMPT_UNIT).values())


def on_a_cpu(precision):
    """Quantized weights stay so; others are those of a CPU."""
    return precision if precision.startswith("int") else "fp32"


def ranks(sizes, unit):
    """Distinct sizes become 1, 2, 3, … times `unit`, smallest first."""
    return {size: unit * rank for rank, size in enumerate(sorted(set(sizes)), 1)}
