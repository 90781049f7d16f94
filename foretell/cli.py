"""The commands. Exit 0: fine; 1: something was found; 2: misused, with one message that says what to do."""

from __future__ import annotations

import os
import signal
import sys
import threading
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Annotated

import orjson
import typer
from rich.console import Console

from . import schemas
from .config import Config, load_config
from .config_file import ConfigError
from .evaluate import evaluate
from .logs import configure_logs

app = typer.Typer(
    name="foretell",
    help="Tells a customer what they would otherwise have had to call about.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
topics_app = typer.Typer(help="Create or check the topics.", no_args_is_help=True)
schemas_app = typer.Typer(help="Write the JSON Schemas of the messages.", no_args_is_help=True)
app.add_typer(topics_app, name="topics")
app.add_typer(schemas_app, name="schemas")

screen = Console(highlight=False, soft_wrap=True)
complaints = Console(stderr=True, highlight=False, soft_wrap=True)

EXIT_FOUND = 1
EXIT_MISUSED = 2


class Output(StrEnum):
    """How a command prints, or a process logs."""

    TEXT = "text"
    JSON = "json"


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="foretell.yaml; `FORETELL_SECTION__KEY` in the environment overrides it.",
        show_default="defaults",
    ),
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print.")]
LogOption = Annotated[Output, typer.Option("--log-format", "-o", help="How to log, on standard error.")]


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        screen.print(f"foretell {version('foretell')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    _: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Tells a customer what they would otherwise have had to call about."""


def main() -> None:
    """Run a command; what a user did wrong ends in one message and exit code 2, never in a traceback."""
    try:
        app()
    except Exception as error:
        if not isinstance(error, _usage_errors()):
            raise
        complaints.print(f"foretell: {error}", markup=False, style="red")
        sys.exit(EXIT_MISUSED)


def _usage_errors() -> tuple[type[Exception], ...]:
    """Return the errors whose sentence is for the user. Imported late: `foretell --help` needs no Kafka client."""
    from channels import ConsumerError, LedgerError
    from streams.topics import TopicError

    from .broker import BrokerError
    from .feed import FeedError
    from .kafka_jars import KafkaJarsError
    from .preflight import PreflightError
    from .serve import ServeError

    return (
        ConfigError,
        TopicError,
        ConsumerError,
        LedgerError,
        BrokerError,
        KafkaJarsError,
        FeedError,
        PreflightError,
        ServeError,
    )


@app.command(epilog="Example: `foretell check foretell.yaml`")
def check(
    config: Annotated[Path, typer.Argument(help="The configuration to check.")], output: OutputOption = Output.TEXT
) -> None:
    """Check a configuration without touching Kafka."""
    loaded = load_config(config)
    from .preflight import require_codecs

    require_codecs()
    found = {
        "config": str(config),
        "kafka": loaded.kafka.bootstrap,
        "meters": list(loaded.meters),
        "plans": list(loaded.plans),
        "deliver_to": list(loaded.channels.deliver_to),
    }
    if output is Output.JSON:
        _print_json(found)
    else:
        screen.print(
            f"{config} is fine: Kafka at {loaded.kafka.bootstrap}, {len(loaded.meters)} meters, {len(loaded.plans)} plans, "
            f"delivering to {', '.join(loaded.channels.deliver_to)}."
        )


@topics_app.command("create", epilog="Example: `foretell topics create --config foretell.yaml`")
def topics_create(config: ConfigOption = None, output: OutputOption = Output.TEXT) -> None:
    """Create the topics that are missing; those that exist stay as they are."""
    from streams import topics

    loaded = load_config(config)
    with topics.admin(loaded.kafka) as client:
        done = topics.create(client, loaded.topics, loaded.repartition)
        topics.require(client, loaded.topics, loaded.repartition)
    if output is Output.JSON:
        _print_json(done)
        return
    for name in done["created"]:
        screen.print(f"created  {name}")
    for name in done["present"]:
        screen.print(f"present  {name}")


@topics_app.command("check", epilog="Example: `foretell topics check --config foretell.yaml -o json`")
def topics_check(config: ConfigOption = None, output: OutputOption = Output.TEXT) -> None:
    """Say what is wrong with the topics and the keys on them; exit 1 if anything is."""
    from streams import topics
    from streams.key_survey import misplaced_keys

    loaded = load_config(config)
    with topics.admin(loaded.kafka) as client:
        problems = topics.problems(client, loaded.topics, loaded.repartition)
    problems += misplaced_keys(loaded.kafka, loaded.topics)
    if output is Output.JSON:
        _print_json({"problems": problems})
    else:
        for problem in problems or ["All topics are as needed."]:
            screen.print(problem, markup=False)
    if problems:
        raise typer.Exit(EXIT_FOUND)


@app.command(epilog="Example: `foretell stream --config foretell.yaml --workers 4`")
def stream(
    config: ConfigOption = None,
    log_format: LogOption = Output.TEXT,
    workers: Annotated[
        int | None,
        typer.Option(
            help="So many workers, each a process, kept running by this one. More than partitions stay idle; "
            "a core each is best.",
            show_default="this process is the worker",
            min=1,
            max=256,
        ),
    ] = None,
    grace: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", help="With --workers: how long they may take to end, before they are killed.", min=0
        ),
    ] = 25.0,
) -> None:
    """Run the stream worker: events in, alerts out. SIGTERM ends it after the batch in hand, with a checkpoint."""
    from .supervised import Supervised

    mine = Supervised.of(os.environ)
    configure_logs(log_format.value, **({"worker": mine.number} if mine else {}))
    loaded = load_config(config)
    if workers is not None:
        raise typer.Exit(_supervise(loaded, config, log_format, workers, grace))
    from streams.metrics import StreamMetrics
    from streams.worker import StreamWorker

    from .preflight import require_kafka
    from .serve import serve
    from .supervised import await_kafka

    if mine is None:
        require_kafka(loaded)
    working: list[StreamWorker] = []  # none yet while Kafka is waited for: healthy, not ready
    with serve(
        loaded.http.host,
        loaded.http.stream,
        lambda: all(worker.is_healthy() for worker in working),
        lambda: any(worker.is_ready() for worker in working),
    ) as port:
        if mine is None:
            _say_served("stream", loaded, port)
        else:
            mine.tell_port(port)
            await_kafka(loaded)
        working.append(StreamWorker(loaded.stream_settings(), StreamMetrics()))
        working[0].run()


def _supervise(config: Config, path: Path | None, log_format: Output, workers: int, grace_seconds: float) -> int:
    import structlog

    from streams.topics import TopicError

    from .preflight import require_kafka
    from .serve import serve
    from .supervised import is_absent
    from .supervisor import Patience, Supervisor

    try:
        require_kafka(config)
    except TopicError as error:
        if not is_absent(error):
            raise
        structlog.get_logger("foretell").warning("workers_will_wait_for_kafka", why=str(error))
    command = [sys.executable, "-m", "foretell", "stream", "--log-format", log_format.value]
    if path is not None:
        command += ["--config", str(path)]
    supervisor = Supervisor(
        command, workers, instance_id=config.stream.instance_id, patience=Patience(grace_seconds=grace_seconds)
    )
    with serve(
        config.http.host, config.http.stream, supervisor.is_healthy, supervisor.is_ready, supervisor.registry
    ) as port:
        _say_served("stream", config, port)
        return supervisor.run()


@app.command(epilog="Example: `FORETELL_KAFKA__BOOTSTRAP=kafka:9092 foretell deliver --config foretell.yaml`")
def deliver(config: ConfigOption = None, log_format: LogOption = Output.TEXT) -> None:
    """Run the channel consumer: alerts in, messages to people, receipts out."""
    configure_logs(log_format.value)
    loaded = load_config(config)
    from channels import Consumer, DeliveryMetrics

    from .preflight import require_kafka
    from .serve import serve

    require_kafka(loaded)
    consumer = Consumer(loaded.delivery_settings(), DeliveryMetrics())

    def stop(*_: object) -> None:
        consumer.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    with serve(
        loaded.http.host, loaded.http.deliver, lambda: consumer.is_healthy(datetime.now(UTC)), consumer.is_ready
    ) as port:
        _say_served("deliver", loaded, port)
        consumer.run()


@app.command(epilog="Example: `foretell broker --port 9092`")
def broker(
    port: Annotated[
        int | None, typer.Option(help="Where clients connect; a free port otherwise.", min=1, max=65535)
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder for its data; a temporary one otherwise.")] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Run a real Apache Kafka on this machine, for trying things out. Needs neither Java nor Docker."""
    from .broker import LocalBroker

    over = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        over.set()

    with LocalBroker(data, port=port) as running:
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        if output is Output.JSON:
            _print_json({"bootstrap": running.bootstrap, "pid": os.getpid()})
        else:
            screen.print(f"Kafka answers at {running.bootstrap}; Ctrl-C ends it.")
            screen.print(f"In another terminal: FORETELL_KAFKA__BOOTSTRAP={running.bootstrap} foretell topics create")
        over.wait()


@app.command(
    epilog="Example: `foretell feed readings.csv --map quantity=kwh --map meter:=electricity --map unit:=kWh "
    "--timezone Europe/Stockholm`"
)
def feed(  # noqa: PLR0913 - what may be said of a file
    file: Annotated[Path, typer.Argument(help="CSV, JSON Lines (each also .gz) or Parquet.", show_default=False)],
    *,
    config: ConfigOption = None,
    type_name: Annotated[
        str, typer.Option("--type", help="What the rows are; it picks the topic: charge.posted, account.updated, ...")
    ] = "usage.recorded",
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="`ours=column`, `ours=column*0.001` or `ours:=constant`; again for each field. "
            "A column with the name of a field of ours needs none.",
            show_default=False,
        ),
    ] = None,
    timezone: Annotated[str | None, typer.Option(help="The zone of times that name no offset.")] = None,
    speed: Annotated[
        float | None,
        typer.Option(help="Seconds of the events' time in one of ours.", show_default="as fast as it goes"),
    ] = None,
    start: Annotated[int, typer.Option(help="The first row to feed; rows count from 1.")] = 1,
    limit: Annotated[int | None, typer.Option(help="Feed so many rows at most.", show_default="all")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check, but send nothing.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Send the rows of a file as events; exit 1 if some make none."""
    from .feed import FeedOptions, FeedSummary
    from .feed import feed as feed_file

    loaded = load_config(config)
    options = FeedOptions(
        file=file,
        type=type_name,
        mapping=tuple(mapping or ()),
        timezone=timezone,
        speed=speed,
        start=start,
        limit=limit,
        dry_run=dry_run,
    )
    with complaints.status("Reading") as status:

        def tell(so_far: FeedSummary) -> None:
            status.update(f"{so_far.read:,} rows read, {so_far.refused:,} refused")

        summary = feed_file(options, loaded.kafka, loaded.topics, tell)
    if output is Output.JSON:
        _print_json(summary.as_dict())
    else:
        for line in summary.lines():
            screen.print(line, markup=False)
    if summary.refused:
        raise typer.Exit(EXIT_FOUND)


@app.command(epilog="Example: `foretell demo --seed 7 --keep`")
def demo(
    *,
    seconds: Annotated[float, typer.Option(help="How long the replay takes.", min=1)] = 45.0,
    speed: Annotated[
        float | None,
        typer.Option(help="Simulated seconds in one of ours; instead of --seconds.", min=1, show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the customers that are made up.")] = 1,
    customers: Annotated[int, typer.Option(help="How many are made up.", min=2, max=1998)] = 200,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running at the end, until Ctrl-C.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Run all of it on a real Kafka for about a minute: events in, messages to people, and what was right and wrong."""
    from .demo import DemoOptions, run_demo

    options = DemoOptions(
        seconds=seconds,
        speed=speed,
        seed=seed,
        customers=customers,
        keep=keep,
        json=output is Output.JSON,
    )
    raise typer.Exit(run_demo(options))


app.command(
    epilog="Example: `foretell evaluate spike --example > usage.csv`, then `foretell evaluate spike usage.csv --from 2026-02-02`"
)(evaluate)


@schemas_app.command("write", epilog="Example: `foretell schemas write`")
def schemas_write(
    directory: Annotated[Path, typer.Argument(help="Where to.")] = schemas.DIRECTORY, output: OutputOption = Output.TEXT
) -> None:
    """Write the JSON Schema of every message."""
    written = [str(path) for path in schemas.write(directory)]
    if output is Output.JSON:
        _print_json({"written": written})
    else:
        screen.print("\n".join(written))


def _print_json(found: object) -> None:
    sys.stdout.write(orjson.dumps(found, option=orjson.OPT_INDENT_2, default=str).decode() + "\n")
    sys.stdout.flush()


def _say_served(process: str, config: Config, port: int) -> None:
    import structlog

    structlog.get_logger("foretell").info(
        "serving", process=process, kafka=config.kafka.bootstrap, metrics=f"http://{config.http.host}:{port}/metrics"
    )
