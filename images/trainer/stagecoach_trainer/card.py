"""The model card: the record for people."""

from collections.abc import Iterator

from huggingface_hub import ModelCardData

from stagecoach.contract.digests import short
from stagecoach.contract.inputs import (
    EMBEDDING,
    TAGGING,
    Combine,
    Decided,
    Family,
    Hyperparameters,
    LoraMethod,
    Method,
    PrefixTuningMethod,
    Prompt,
    PromptTuningMethod,
    PTuningMethod,
    QloraMethod,
    WordColumns,
)
from stagecoach.contract.prompts import PLACEHOLDER
from stagecoach.contract.records import AnyRecord, Record, TrainingRecord
from stagecoach_trainer import pooling, sentences

# The card, and the picture of the losses beside it.
NAME = "README.md"
CURVE = "loss.svg"
# The words of model hubs for the tasks.
PIPELINES = {
    "Classification": "text-classification",
    TAGGING: "token-classification",
    "Generation": "text-generation",
    "Summarization": "summarization",
    "Translation": "translation",
    EMBEDDING: "sentence-similarity",
}
COMBINED = {Combine.MEAN: "mean", Combine.MAX: "maximum"}


def text(record: Record, curve: str = CURVE) -> str:
    """Return the card in Markdown, with the metadata block that model hubs read, and the picture of this name."""
    data = ModelCardData(
        base_model=record.base.name,
        library_name=library(record),
        pipeline_tag=PIPELINES[record.inputs.task],
        tags=[record.inputs.method.type.lower(), "stagecoach"],
        datasets=[item.name for item in record.data],
    )
    sections = (_heading(record), _method(record), _data(record), _results(record, curve), _reproduction(record))
    return f"---\n{data.to_yaml()}\n---\n" + "\n".join(sections)


def library(record: AnyRecord) -> str:
    """Return the library that loads the artifact."""
    if record.artifact.type == "Adapter":
        return "peft"
    return "sentence-transformers" if record.inputs.embeds else "transformers"


def _heading(record: Record) -> str:
    owner = record.owner
    contact = f" ({owner.contact})" if owner.contact else ""
    return "\n".join(
        (
            f"# {record.project}: {record.artifact.type.lower()} {short(record.artifact.digest)}\n",
            f"{_what(record)}, trained for the task {record.inputs.task}{_number_of(record.labels)}.\n",
            _table(
                ("Owner", f"{owner.name}{contact}"),
                ("Run", f"{record.subject.namespace}/{record.subject.name}, attempt {record.attempt}"),
                ("Base model", f"{record.base.uri}{_commit(record)} ({record.base.architecture})"),
                ("Base licence", record.base.license or "unknown"),
                ("Base digest", record.base.model),
                ("Tokenizer digest", record.base.tokenizer),
                ("Artifact", f"{record.artifact.digest}, {record.artifact.bytes} bytes"),
                ("Inputs", record.inputs_digest),
                *((("Labels", ", ".join(_code(label) for label in record.labels)),) if record.labels else ()),
            ),
        )
    )


def _number_of(labels: tuple[str, ...]) -> str:
    return f" with {len(labels)} labels" if labels else ""


def _what(record: Record) -> str:
    if record.artifact.type == "Model":
        return f"A whole model made from {record.base.name}"
    return f"A {record.inputs.method.type} adapter for {record.base.name}"


def _parameters(method: Method) -> str:
    """Return a method with its own parameters, in words; the modules have a row of their own."""
    match method:
        case LoraMethod() | QloraMethod():
            return f"{method.type}, rank {method.rank}, alpha {method.alpha}, dropout {method.dropout}"
        case PromptTuningMethod(init_text=str()):
            return f"{method.type}, {method.virtual_tokens} virtual tokens that began as {method.init_text!r}"
        case PTuningMethod():
            width = method.encoder_hidden_size
            return f"{method.type}, {method.virtual_tokens} virtual tokens, encoder of width {width}"
        case PrefixTuningMethod() | PromptTuningMethod():
            return f"{method.type}, {method.virtual_tokens} virtual tokens"
        case _:
            return method.type


def _modules(training: TrainingRecord) -> Iterator[tuple[str, str]]:
    if training.target_modules:
        yield "Adapted modules", f"{', '.join(training.target_modules)} ({training.adapted_layers} layers)"
    if training.whole_modules:
        yield "Modules trained whole", ", ".join(training.whole_modules)


def _quantization(training: TrainingRecord) -> Iterator[tuple[str, str]]:
    if found := training.quantization:
        how = f"{found.type}, {'scales quantized too' if found.double else 'plain scales'}, by {found.library}"
        yield "Quantized in training", f"{found.layers} layers with {found.parameters} parameters: {how}"
        yield "For which base", found.statement


def _tags(record: Record) -> Iterator[tuple[str, str]]:
    if record.inputs.tags:
        words = isinstance(record.inputs.train[0].columns, WordColumns)
        yield "Tags", "of the first token of each word" if words else "of every token; the first of a span has B-"


def _vectors(record: Record) -> Iterator[tuple[str, str]]:
    if record.base.pooling:
        yield "Vectors", f"{pooling.WORDS[record.base.pooling]}, made of length 1"
        yield "Negatives", "the passages of the other rows of a batch, and the row's own where it has one"


def _options(settings: Hyperparameters) -> Iterator[tuple[str, str]]:
    if settings.gradient_checkpointing:
        yield "Gradient checkpointing", "on"
    if settings.class_weights:
        yield "Class weights", settings.class_weights


def _commit(record: Record) -> str:
    return f" at {record.base.revision}" if record.base.revision else ""


def _method(record: Record) -> str:
    method, settings, training = record.inputs.method, record.inputs.hyperparameters, record.training
    return "\n## How it was trained\n\n" + _table(
        ("Method", _parameters(method)),
        *_modules(training),
        *_tags(record),
        *_vectors(record),
        ("Frozen", training.frozen),
        *_quantization(training),
        ("Trained parameters", f"{training.trainable_parameters} ({100 * training.trainable_share:.2f} %)"),
        ("Learning rate", f"{settings.learning_rate:g}, {settings.learning_rate_schedule}"),
        ("Warm-up", f"{training.warmup_steps} of {training.steps} steps"),
        (
            "Batch",
            f"{training.effective_batch_size} {'rows' if training.weighting is None else 'rows or chunks'}"
            f" ({settings.per_device_batch_size} × {settings.gradient_accumulation_steps} accumulated)",
        ),
        ("Length", f"{training.epochs:g} {'epoch' if training.epochs == 1 else 'epochs'}, {training.steps} steps"),
        ("Optimizer", f"{settings.optimizer}, weight decay {settings.weight_decay:g}"),
        ("Gradient clipping", f"{settings.max_grad_norm:g}"),
        ("Precision", training.precision),
        *_options(settings),
        ("Seed", str(settings.seed)),
    )


def _data(record: Record) -> str:
    lines = ["\n## Data\n", "| set | split | rows | cut | digest |", "|---|---|---|---|---|"]
    lines += [f"| {d.name} | {d.split} | {d.examples} | {d.truncated} | {d.digest} |" for d in record.data]
    lines += _chunks(record)
    rule = record.inputs.tokenization
    target = f"; targets of at most {rule.max_target_length}" if rule.max_target_length else ""
    lines += ["", f"Prompt (at most {rule.max_length} tokens, {rule.overflow} beyond that{target}):", ""]
    lines += prompt_lines(record.inputs)
    return "\n".join(lines) + "\n"


def _chunks(record: Record) -> Iterator[str]:
    """Yield how long rows were read, where that was in chunks."""
    chunk = record.inputs.tokenization.chunk
    if chunk is None:
        return
    counts = (f"{d.chunked} of {d.examples} rows of {d.name}, as {d.chunks}" for d in record.data)
    yield from ("", f"Read in chunks, {chunk.stride} tokens of which are those before: {'; '.join(counts)}.")
    yield record.training.weighting or ""
    if chunk.combine:
        yield f"A text has the label with the highest {COMBINED[chunk.combine]} of the probabilities in its chunks."


def prompt_lines(inputs: Decided) -> list[str]:
    """Return the prompt as it stands in a card. An encoder reads the template alone, of a passage that of its own."""
    prompt = inputs.prompt
    system = prompt.system if inputs.family is Family.DECODER else None
    lines = _indented(f"{system or ''}\n{prompt.template}")
    if not inputs.embeds:
        return lines
    return [*lines, "", "Of a passage:", "", *_indented(prompt.passage_template or PLACEHOLDER), *_unsaid(prompt)]


def _indented(text: str) -> list[str]:
    return ["    " + line for line in text.strip().splitlines()]


def _unsaid(prompt: Prompt) -> Iterator[str]:
    """Yield the lines on templates that are more than a prefix: sentence-transformers leaves them out in silence."""
    missing = [use for use in ("query", "document") if use not in sentences.prompts(prompt)]
    if missing:
        file = "config_sentence_transformers.json"
        names = " and ".join(f"`{use}`" for use in missing)
        yield ""
        yield f"`{file}` has no prompt for {names}: the template is more than a prefix. Put texts into it yourself."


def _results(record: Record, curve: str) -> str:
    training = record.training
    lines = [
        "\n## What came of it\n",
        picture(curve),
        "",
        "| epoch | step | loss on the validation sets |",
        "|---|---|---|",
    ]
    lines += [f"| {point.epoch:g} | {point.step} | {point.loss:.4f} |" for point in training.evaluations]
    if training.best_step is not None:
        lines += ["", f"Published is the model of step {training.best_step}, where this loss was lowest."]
    lines += [
        "",
        f"Mean training loss {training.train_loss:.4f}. A loss says little of answers: `compare` counts them.",
        "",
    ]
    return "\n".join(lines)


def picture(curve: str = CURVE) -> str:
    """Return the line that shows the losses."""
    return f"![Loss and learning rate over steps]({curve})"


def _reproduction(record: Record) -> str:
    training, hardware, software = record.training, record.hardware, record.software
    device = hardware.gpu or f"{hardware.cpu}, {hardware.threads} threads"
    packages = ", ".join(f"{name} {version}" for name, version in software.packages.items())
    return "\n## Reproduction and cost\n\n" + _table(
        ("Hardware", device),
        ("Time", f"{training.seconds:.0f} s, {training.tokens_per_second:.0f} tokens/s{_interruptions(training)}"),
        ("Cost", f"{training.cpu_hours:.3f} CPU hours, {training.gpu_hours:.3f} GPU hours"),
        ("Memory", f"{training.peak_memory_bytes / 2**30:.1f} GiB"),
        ("Image", software.image),
        ("Software", f"Python {software.python}, {packages}"),
        ("Determinism", record.determinism.statement),
        ("Started", record.started),
        ("Finished", record.finished),
    )


def _interruptions(training: TrainingRecord) -> str:
    steps = [f"{stretch.first_step}" for stretch in training.stretches[1:]]
    return f"; interrupted, and gone on from step {', '.join(steps)}" if steps else ""


def _table(*rows: tuple[str, str]) -> str:
    lines = [f"| {name} | {_cell(value)} |" for name, value in rows]
    return "\n".join(("| | |", "|---|---|", *lines)) + "\n"


def _cell(value: str) -> str:
    return value.replace("|", "\\|").replace("\n", " ")


def _code(text: str) -> str:
    return f"`{text}`"
